//! The archive in this program's image: its bytes, its index, and the frames its pages lie in.

#![allow(unsafe_code)] // the archive is memory the kernel mapped, known by its address only

use super::{
    error::{Error, Result},
    objects::{Objects, drop_cap},
    window::Window,
};
use core::ops::Range;
use protocol::system::{Archive, MAGIC};
use sel4::{BootInfoPtr, CapRights, cap, cap_type, init_thread::SlotRegion};
use words::addr::PAGE_SIZE;

/// Where the composer puts the archive: a segment of its own, above this program's.
const ADDRESS: u64 = 0x4000_0000;
/// Bytes of magic and length.
const HEADER: usize = 16;

unsafe extern "C" {
    /// The program's first byte; the linker's.
    static __executable_start: u8;
    /// One past the program's last byte; the linker's.
    static _end: u8;
}

/// The archive.
pub(crate) struct Image {
    bytes: &'static [u8],
    frames: SlotRegion<cap_type::Granule>,
    first: usize,
}

/// Pages of this program itself. They are adjacent: the linker begins each segment on the page after the last one's.
fn own_pages() -> usize {
    let start = (&raw const __executable_start).addr() as u64 & !(PAGE_SIZE - 1);
    let end = ((&raw const _end).addr() as u64).next_multiple_of(PAGE_SIZE);
    ((end - start) / PAGE_SIZE) as usize
}

impl Image {
    /// Finds the archive: the image's frames are listed in the order of their addresses, so those after this program's
    /// own are the archive's.
    pub(crate) fn find(boot_info: &BootInfoPtr) -> Result<Self> {
        let frames = boot_info.user_image_frames();
        let first = own_pages();
        let length = frames.len().saturating_sub(first) * PAGE_SIZE as usize;
        if length == 0 {
            return Err(Error::Archive("the image has none"));
        }
        // SAFETY: the kernel mapped every frame of the image at the address its program header names, for good; behind
        // this program's own there is only the archive, which nobody writes.
        let bytes = unsafe { core::slice::from_raw_parts(ADDRESS as *const u8, length) };
        Ok(Self {
            bytes,
            frames,
            first,
        })
    }

    /// The index.
    pub(crate) fn archive(&self) -> Result<Archive> {
        let header = self
            .bytes
            .first_chunk::<HEADER>()
            .ok_or(Error::Archive("no header"))?;
        if header[..8] != MAGIC {
            return Err(Error::Archive("no magic"));
        }
        let length = header[8..]
            .try_into()
            .map(u64::from_le_bytes)
            .map_err(|_| Error::Archive("no length"))?;
        let index = HEADER as u64..(HEADER as u64).saturating_add(length);
        postcard::from_bytes(self.data(index)?).map_err(|_| Error::Archive("index"))
    }

    /// Checks that the frames are where they are taken to be: the first one shows the archive's header.
    pub(crate) fn check(&self, objects: &mut Objects, window: &Window) -> Result<()> {
        let copy = objects.copy(self.frame(0)?, CapRights::read_only())?;
        let words = window.read(copy, [0, 8])?;
        drop_cap(copy)?;
        if words.map(u64::to_le_bytes).as_flattened() != &self.bytes[..HEADER] {
            return Err(Error::Archive("its frames are not where its bytes are"));
        }
        Ok(())
    }

    /// Bytes of the archive.
    pub(crate) fn data(&self, range: Range<u64>) -> Result<&'static [u8]> {
        self.bytes
            .get(range.start as usize..range.end as usize)
            .ok_or(Error::Archive("data out of bounds"))
    }

    /// Bytes in all.
    pub(crate) fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The frame of a page of the archive.
    pub(crate) fn frame(&self, page: u64) -> Result<cap::Granule> {
        let index = self.first + page as usize;
        if index >= self.frames.len() {
            return Err(Error::Archive("page out of bounds"));
        }
        Ok(self.frames.index(index).cap())
    }
}
