//! Page-table entries and frames.
//!
//! Always: a frame handed out is zero, below 4 GiB, mapped at its own address, and handed out once.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Present.
pub const P: u64 = 1;
/// Writable.
pub const W: u64 = 1 << 1;
/// User.
pub const U: u64 = 1 << 2;
/// Accessed.
pub const A: u64 = 1 << 5;
/// Dirty.
pub const D: u64 = 1 << 6;
/// A large page.
pub const PS: u64 = 1 << 7;
/// Global.
pub const G: u64 = 1 << 8;
/// No execute.
pub const NX: u64 = 1 << 63;

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Bytes of a large page.
pub const LARGE: u64 = 2 << 20;

/// Frames in the pool.
const FRAMES: usize = 512;

#[repr(C, align(4096))]
struct Pool(UnsafeCell<[[u64; 512]; FRAMES]>);
// SAFETY: there is one CPU; `frame` hands each part out once and never looks at it again.
unsafe impl Sync for Pool {}

static POOL: Pool = Pool(UnsafeCell::new([[0; 512]; FRAMES]));
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// Takes a zeroed frame: its address, physical and virtual alike.
pub fn frame() -> u64 {
    let index = TAKEN.fetch_add(1, Ordering::Relaxed);
    assert!(index < FRAMES, "the guest's pool holds {FRAMES} frames");
    POOL.0.get() as u64 + PAGE * index as u64
}

/// Reads the table entry, or any eight bytes, at `address`.
pub fn load(address: u64) -> u64 {
    // SAFETY: guests pass addresses of frames, which Rust has no references to; or of pages whose fault they catch.
    unsafe { (address as *const u64).read_volatile() }
}

/// Writes the table entry, or any eight bytes, at `address`.
pub fn store(address: u64, value: u64) {
    // SAFETY: as for `load`.
    unsafe { (address as *mut u64).write_volatile(value) }
}

/// The address of entry `index` of the table at `table`.
pub const fn slot(table: u64, index: u64) -> u64 {
    table + 8 * index
}

/// The root that `boot.rs` built: the first GiB mapped to itself.
pub fn boot_root() -> u64 {
    unsafe extern "C" {
        safe static pml4_boot: UnsafePage;
    }
    &raw const pml4_boot as u64
}

/// The directory of 2 MiB pages under that root; its entries mean the same in PAE paging.
pub fn boot_directory() -> u64 {
    unsafe extern "C" {
        safe static pd_boot: UnsafePage;
    }
    &raw const pd_boot as u64
}

/// A page whose content only the CPU and `load`/`store` touch.
#[repr(C, align(4096))]
struct UnsafePage(UnsafeCell<[u64; 512]>);
// SAFETY: no reference to its content is ever made.
unsafe impl Sync for UnsafePage {}

/// Maps one page of four-level paging: `entry` becomes the leaf of `address`, and tables that are missing above it are made,
/// with all rights. The leaf's address.
pub fn map(root: u64, address: u64, entry: u64) -> u64 {
    let mut table = root;
    for shift in [39, 30, 21] {
        let at = slot(table, address >> shift & 511);
        if load(at) & P == 0 {
            store(at, frame() | P | W | U);
        }
        table = load(at) & 0x000f_ffff_ffff_f000;
    }
    let leaf = slot(table, address >> 12 & 511);
    store(leaf, entry);
    leaf
}

/// A new root with the first GiB mapped to itself.
pub fn root() -> u64 {
    let root = frame();
    store(slot(root, 0), load(slot(boot_root(), 0)));
    root
}
