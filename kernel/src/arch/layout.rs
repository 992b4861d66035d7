//! Where things are: the window on physical memory, the image, and statics that hardware addresses physically.
#![allow(unsafe_code)] // Linker symbols, and pages that hardware shares.

use core::cell::UnsafeCell;

use words::Hpa;

/// Bytes of a page.
pub const PAGE: u64 = words::addr::PAGE_SIZE;
/// Physical address 0 in the kernel's address space.
pub const WINDOW: u64 = kernel::mem::WINDOW_BASE;
/// Physical address 0 as the image is linked; also the end of the window.
pub const IMAGE: u64 = 0xffff_ffff_8000_0000;
/// First physical address the window does not reach: the image's gigabyte follows it.
pub const WINDOW_SIZE: u64 = IMAGE - WINDOW;
/// First physical address the boot tables do not reach.
pub const BOOT_REACH: u64 = 4 << 30;

unsafe extern "C" {
    static __image_start_phys: u8;
    static __text_start: u8;
    static __rodata_start: u8;
    static __data_start: u8;
    static __image_end: u8;
}

/// Kernel addresses of the image's parts; each ends where the next begins.
pub struct Image {
    /// Executable pages.
    pub text: u64,
    /// Read-only pages.
    pub rodata: u64,
    /// Writable pages.
    pub data: u64,
    /// One past the last.
    pub end: u64,
}

/// The image's parts.
pub fn image() -> Image {
    Image {
        text: (&raw const __text_start) as u64,
        rodata: (&raw const __rodata_start) as u64,
        data: (&raw const __data_start) as u64,
        end: (&raw const __image_end) as u64,
    }
}

/// First physical byte of the image (its 32-bit boot code, which precedes the text).
pub fn image_start() -> u64 {
    (&raw const __image_start_phys) as u64
}

/// Physical address of something in the image.
pub fn hpa_of<T>(thing: *const T) -> Hpa {
    Hpa::new(thing as u64 - IMAGE)
}

/// Address of physical memory in the window; meaningful below [`WINDOW_SIZE`].
pub fn window<T>(address: Hpa) -> *mut T {
    (WINDOW + address.bits()) as *mut T
}

/// A page of the image that hardware reads or writes by physical address.
#[repr(C, align(4096))]
pub struct HardwarePage(UnsafeCell<[u64; 512]>);

// SAFETY: accessed through raw pointers only, by the one processor.
unsafe impl Sync for HardwarePage {}

impl HardwarePage {
    /// A page of zeroes.
    pub const fn new() -> Self {
        Self(UnsafeCell::new([0; 512]))
    }
    /// Its physical address.
    pub fn hpa(&self) -> Hpa {
        hpa_of(self.0.get())
    }
    /// Its words, for raw accesses.
    pub fn words(&self) -> *mut u64 {
        self.0.get().cast()
    }
}
