//! Physical memory as the kernel sees it: a window in which every kernel object has a fixed place.
//!
//! Always: a [`Ref<T>`] names memory that a capability or another kernel object describes as a `T`; objects are made of
//! [`Cell`]s, so sharing is sound on one CPU with a kernel that is not preempted; all-zero bytes are a valid value of
//! every object. Only this file turns addresses into references.
#![allow(unsafe_code)] // the one place where physical memory becomes Rust values

use core::cell::Cell;
use core::marker::PhantomData;
use core::ops::Deref;
use words::Hpa;

/// First virtual address of the window: host-physical 0 appears here.
pub const WINDOW_BASE: u64 = 0xffff_ff80_0000_0000;

#[cfg(not(test))]
#[inline(always)]
fn window() -> u64 {
    WINDOW_BASE
}

#[cfg(test)]
std::thread_local! {
    static TEST_WINDOW: Cell<u64> = const { Cell::new(0) };
}

#[cfg(test)]
fn window() -> u64 {
    TEST_WINDOW.with(Cell::get)
}

/// Where the calling test thread's physical memory is; for handing it to another thread.
#[cfg(test)]
pub fn test_window() -> u64 {
    window()
}

/// Makes memory that [`install_test_memory`] made for another test thread this thread's.
#[cfg(test)]
pub fn set_test_window(base: u64) {
    TEST_WINDOW.with(|window| window.set(base));
}

/// Gives the calling test thread `bytes` of zeroed memory as its physical memory.
#[cfg(test)]
pub fn install_test_memory(bytes: usize) {
    let layout = std::alloc::Layout::from_size_align(bytes, 1 << 21).expect("layout");
    // SAFETY: the layout is not empty. The memory is never freed, so every `Ref` of the test stays valid.
    let base = unsafe { std::alloc::alloc_zeroed(layout) };
    TEST_WINDOW.with(|window| window.set(base.expose_provenance() as u64));
}

/// A kernel object at a host-physical address.
pub struct Ref<T> {
    hpa: u64,
    object: PhantomData<*const T>,
}

impl<T> Clone for Ref<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Ref<T> {}
impl<T> PartialEq for Ref<T> {
    fn eq(&self, other: &Self) -> bool {
        self.hpa == other.hpa
    }
}
impl<T> Eq for Ref<T> {}
impl<T> core::fmt::Debug for Ref<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Ref({:#x})", self.hpa)
    }
}

impl<T> Ref<T> {
    /// The object at `hpa`. The caller answers for it: a capability, another object or the boot code says so.
    #[inline(always)]
    pub(crate) const fn at(hpa: u64) -> Self {
        Self {
            hpa,
            object: PhantomData,
        }
    }
    /// Its host-physical address.
    #[inline(always)]
    #[must_use]
    pub const fn hpa(self) -> Hpa {
        Hpa::new(self.hpa)
    }
    /// Its host-physical address as a number.
    #[inline(always)]
    pub(crate) const fn bits(self) -> u64 {
        self.hpa
    }
}

impl<T> Deref for Ref<T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        let pointer = core::ptr::with_exposed_provenance::<T>((window() + self.hpa) as usize);
        // SAFETY: 1. `Ref::at` was given the address of a live `T` (its contract), aligned to the object's size.
        // 2. Objects hold only `Cell`s and plain words: no `&mut` to them exists anywhere.
        // 3. Retype gives out zeroed memory, and zero is a valid value of every object.
        unsafe { &*pointer }
    }
}

/// An optional reference to an object, as a field of an object; zero is none.
pub struct Link<T> {
    hpa: Cell<u64>,
    object: PhantomData<*const T>,
}

impl<T> Link<T> {
    /// The object, if there is one.
    #[inline(always)]
    #[must_use]
    pub fn get(&self) -> Option<Ref<T>> {
        match self.hpa.get() {
            0 => None,
            hpa => Some(Ref::at(hpa)),
        }
    }
    /// Replaces it.
    #[inline(always)]
    pub fn set(&self, to: Option<Ref<T>>) {
        self.hpa.set(to.map_or(0, Ref::bits));
    }
    /// Whether it is `object`.
    #[must_use]
    pub fn is(&self, object: Ref<T>) -> bool {
        self.hpa.get() == object.bits()
    }
}

/// 512 words: a paging structure, or any page seen as words.
#[repr(C, align(4096))]
pub struct Page(pub [Cell<u64>; 512]);

/// 512 bytes that FXSAVE writes.
#[repr(C, align(16))]
pub struct FpuArea(pub [Cell<u64>; 64]);

/// Fills `[start, start + bytes)` with zeroes; both multiples of 8.
pub(crate) fn zero(start: u64, bytes: u64) {
    let pointer = core::ptr::with_exposed_provenance_mut::<u64>((window() + start) as usize);
    // SAFETY: the caller names memory that no object uses (an untyped's, or an object being destroyed), inside RAM.
    unsafe { core::ptr::write_bytes(pointer, 0, (bytes / 8) as usize) };
}

/// Copies bytes of RAM (boot only: the root task's image).
pub(crate) fn copy(to: u64, from: u64, bytes: u64) {
    let source = core::ptr::with_exposed_provenance::<u8>((window() + from) as usize);
    let target = core::ptr::with_exposed_provenance_mut::<u8>((window() + to) as usize);
    // SAFETY: the caller copies between a boot module and freshly allocated frames: RAM that does not overlap.
    unsafe { core::ptr::copy_nonoverlapping(source, target, bytes as usize) };
}

/// Writes bytes into RAM (boot information, before any user program runs).
pub(crate) fn write_bytes(to: u64, bytes: &[u8]) {
    let target = core::ptr::with_exposed_provenance_mut::<u8>((window() + to) as usize);
    // SAFETY: `to` names freshly allocated frames with room for `bytes`; the slice is kernel memory outside them.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) };
}

/// The bytes of a boot module.
pub(crate) fn bytes<'a>(start: u64, length: u64) -> &'a [u8] {
    let pointer = core::ptr::with_exposed_provenance::<u8>((window() + start) as usize);
    // SAFETY: the boot loader put the module there; nothing writes to it while the kernel boots.
    unsafe { core::slice::from_raw_parts(pointer, length as usize) }
}

/// The IPC buffer as the kernel uses it.
#[repr(C, align(1024))]
pub struct Buffer {
    tag: Cell<u64>,
    /// Message words.
    pub msg: [Cell<u64>; sel4_abi::MSG_MAX_LENGTH],
    user_data: Cell<u64>,
    /// Addresses of extra capabilities, or badges.
    pub caps_or_badges: [Cell<u64>; 3],
    /// Receive slot.
    pub receive_cnode: Cell<u64>,
    /// Receive slot.
    pub receive_index: Cell<u64>,
    /// Receive slot.
    pub receive_depth: Cell<u64>,
}

const _: () = assert!(size_of::<Buffer>() == 1024);

/// The reference to what lies inside an object of the window.
#[inline(always)]
pub(crate) fn inside<T>(part: *const T) -> Ref<T> {
    Ref::at((part.expose_provenance() as u64).wrapping_sub(window()))
}

/// A link to nothing.
pub(crate) const fn no_link<T>() -> Link<T> {
    Link {
        hpa: Cell::new(0),
        object: PhantomData,
    }
}
