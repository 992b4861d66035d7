//! What the kernel tells the initial thread.

#![allow(unsafe_code)] // the boot information is memory the kernel filled in

use crate::{
    IpcBuffer,
    around::around,
    cap_type,
    init_thread::SlotRegion,
    sys::{IPC_BUFFER_SIZE, boot_info as abi},
};
use core::{ops::Deref, ops::Range, slice};

/// Where the extra boot information begins after the boot information.
const EXTRA_OFFSET: usize = 4096;

/// The boot-information frame and the pages after it.
#[derive(Debug)]
pub struct BootInfoPtr {
    ptr: *const BootInfo,
}

impl BootInfoPtr {
    /// Around the address in rdi at the first instruction.
    ///
    /// # Safety
    ///
    /// `ptr` points to boot information, extra boot information included, that stays mapped and unchanged.
    #[must_use]
    pub const unsafe fn new(ptr: *const BootInfo) -> Self {
        Self { ptr }
    }
    /// The address.
    #[must_use]
    pub const fn ptr(&self) -> *const BootInfo {
        self.ptr
    }
    /// The pieces of extra boot information.
    pub fn extra(&self) -> impl Iterator<Item = BootInfoExtra<'_>> {
        // SAFETY: `new`'s caller promised that the extra boot information is there and stays.
        let bytes = unsafe {
            slice::from_raw_parts(self.ptr.cast::<u8>().add(EXTRA_OFFSET), self.extra_len())
        };
        ExtraIterator { rest: bytes }
    }
    /// Bytes from the first of the boot information to the last of the extra boot information.
    #[must_use]
    pub fn footprint_size(&self) -> usize {
        EXTRA_OFFSET + self.extra_len()
    }
}

impl Deref for BootInfoPtr {
    type Target = BootInfo;
    fn deref(&self) -> &BootInfo {
        // SAFETY: `new`'s caller promised it.
        unsafe { &*self.ptr }
    }
}

/// The boot information. libsel4: `seL4_BootInfo`.
#[derive(Debug)]
#[repr(transparent)]
pub struct BootInfo(abi::BootInfo);

impl BootInfo {
    /// The ABI's structure.
    #[must_use]
    pub const fn inner(&self) -> &abi::BootInfo {
        &self.0
    }
    fn extra_len(&self) -> usize {
        self.0.extra_len as usize
    }
    /// The initial thread's IPC buffer.
    #[must_use]
    pub const fn ipc_buffer(&self) -> *mut IpcBuffer {
        debug_assert!(self.0.ipc_buffer.is_multiple_of(IPC_BUFFER_SIZE));
        self.0.ipc_buffer as *mut IpcBuffer
    }
    /// Empty slots.
    #[must_use]
    pub const fn empty(&self) -> SlotRegion {
        SlotRegion::from_sys(self.0.empty)
    }
    /// Frames of the initial program's image, in the order of their addresses.
    #[must_use]
    pub const fn user_image_frames(&self) -> SlotRegion<cap_type::Granule> {
        SlotRegion::from_sys(self.0.user_image_frames)
    }
    /// Tables of the initial program's address space.
    #[must_use]
    pub const fn user_image_paging(&self) -> SlotRegion {
        SlotRegion::from_sys(self.0.user_image_paging)
    }
    /// Authority to give processor time, one a processor.
    #[must_use]
    pub const fn sched_control(&self) -> SlotRegion<cap_type::SchedControl> {
        SlotRegion::from_sys(self.0.sched_control)
    }
    /// Untyped memory.
    #[must_use]
    pub const fn untyped(&self) -> SlotRegion<cap_type::Untyped> {
        SlotRegion::from_sys(self.0.untyped)
    }
    /// What [`untyped`](Self::untyped) covers.
    #[must_use]
    pub fn untyped_list(&self) -> &[UntypedDesc] {
        // SAFETY: `UntypedDesc` is a transparent wrapper.
        let all: &[UntypedDesc] = unsafe {
            slice::from_raw_parts(
                self.0.untyped_list.as_ptr().cast(),
                self.0.untyped_list.len(),
            )
        };
        &all[..self.untyped().len().min(all.len())]
    }
    /// The part of the untyped list that is device memory; it comes first.
    #[must_use]
    pub fn device_untyped_range(&self) -> Range<usize> {
        0..self.first_kernel_untyped()
    }
    /// The part of the untyped list that is ordinary memory.
    #[must_use]
    pub fn kernel_untyped_range(&self) -> Range<usize> {
        self.first_kernel_untyped()..self.untyped_list().len()
    }
    fn first_kernel_untyped(&self) -> usize {
        self.untyped_list()
            .iter()
            .position(|desc| !desc.is_device())
            .unwrap_or(self.untyped_list().len())
    }
}

/// One untyped capability. libsel4: `seL4_UntypedDesc`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct UntypedDesc(abi::UntypedDesc);

around!(UntypedDesc, abi::UntypedDesc);

impl UntypedDesc {
    /// Its address.
    #[must_use]
    pub const fn paddr(&self) -> usize {
        self.0.paddr as usize
    }
    /// log2 of its bytes.
    #[must_use]
    pub const fn size_bits(&self) -> usize {
        self.0.size_bits as usize
    }
    /// Device memory.
    #[must_use]
    pub const fn is_device(&self) -> bool {
        self.0.is_device != 0
    }
}

/// What a piece of extra boot information is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum BootInfoExtraId {
    /// Padding.
    Padding,
    /// VBE information.
    X86Vbe,
    /// Multiboot memory map.
    X86MbMMap,
    /// Copy of the ACPI root pointer.
    X86AcpiRsdp,
    /// Framebuffer.
    X86Framebuffer,
    /// TSC frequency.
    X86TscFreq,
    /// Something else.
    Other(u64),
}

impl BootInfoExtraId {
    const fn from_sys(id: u64) -> Self {
        match id {
            abi::extra::PADDING => Self::Padding,
            abi::extra::X86_VBE => Self::X86Vbe,
            abi::extra::X86_MBMMAP => Self::X86MbMMap,
            abi::extra::X86_ACPI_RSDP => Self::X86AcpiRsdp,
            abi::extra::X86_FRAMEBUFFER => Self::X86Framebuffer,
            abi::extra::X86_TSC_FREQ => Self::X86TscFreq,
            other => Self::Other(other),
        }
    }
}

/// A piece of extra boot information.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BootInfoExtra<'a> {
    /// What it is about.
    pub id: BootInfoExtraId,
    content_with_header: &'a [u8],
}

/// Bytes of a piece's header: identifier and length.
const HEADER: usize = 16;

impl<'a> BootInfoExtra<'a> {
    /// Its bytes, header included.
    #[must_use]
    pub const fn content_with_header(&self) -> &'a [u8] {
        self.content_with_header
    }
    /// Its bytes after the header.
    #[must_use]
    pub fn content(&self) -> &'a [u8] {
        &self.content_with_header[HEADER..]
    }
}

struct ExtraIterator<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for ExtraIterator<'a> {
    type Item = BootInfoExtra<'a>;
    fn next(&mut self) -> Option<Self::Item> {
        let id = u64::from_le_bytes(self.rest.get(..8)?.try_into().ok()?);
        let length = u64::from_le_bytes(self.rest.get(8..HEADER)?.try_into().ok()?) as usize;
        if length < HEADER || length > self.rest.len() {
            self.rest = &[];
            return None;
        }
        let (content_with_header, rest) = self.rest.split_at(length);
        self.rest = rest;
        Some(BootInfoExtra {
            id: BootInfoExtraId::from_sys(id),
            content_with_header,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(id: u64, length: u64, content: &[u8]) -> Vec<u8> {
        [&id.to_le_bytes(), &length.to_le_bytes(), content].concat()
    }

    #[test]
    fn pieces_of_extra_information_follow_one_another() {
        let bytes = [piece(3, 19, b"abc"), piece(5, 20, &2000u32.to_le_bytes())].concat();
        let found: Vec<_> = ExtraIterator { rest: &bytes }
            .map(|piece| (piece.id, piece.content().to_vec()))
            .collect();
        assert_eq!(found[0], (BootInfoExtraId::X86AcpiRsdp, b"abc".to_vec()));
        assert_eq!(found[1], (BootInfoExtraId::X86TscFreq, vec![0xd0, 7, 0, 0]));
    }

    #[test]
    fn a_length_that_cannot_be_ends_the_walk() {
        assert_eq!(
            ExtraIterator {
                rest: &piece(1, 0, b"")
            }
            .count(),
            0
        );
        assert_eq!(
            ExtraIterator {
                rest: &piece(1, 99, b"")
            }
            .count(),
            0
        );
        assert_eq!(ExtraIterator { rest: &[1, 2, 3] }.count(), 0);
    }
}
