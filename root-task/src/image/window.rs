//! One page of this program's address space through which frames are filled before they go to their domain.

#![allow(unsafe_code)] // the window is a fixed address

use super::{error::Result, objects::Objects};
use sel4::{CapRights, VmAttributes, cap, cap_type, init_thread::slot::VSPACE};

/// Its address: far from the program and its archive.
const ADDRESS: usize = 0x10_0000_0000;
/// Bytes of a page.
pub(crate) const SIZE: usize = 4096;

/// The window. One at a time is open: opening maps the one page.
pub(crate) struct Window(());

impl Window {
    /// Makes the tables it needs. (The kernel made the first two levels when it mapped the program.)
    pub(crate) fn new(objects: &mut Objects) -> Result<Self> {
        let directory = objects.make::<cap_type::PageDirectory>()?;
        directory.page_directory_map(VSPACE.cap(), ADDRESS, VmAttributes::DEFAULT)?;
        let table = objects.make::<cap_type::PageTable>()?;
        table.page_table_map(VSPACE.cap(), ADDRESS, VmAttributes::DEFAULT)?;
        Ok(Self(()))
    }

    /// Shows `body` the bytes of a frame that is mapped nowhere.
    pub(crate) fn fill(
        &self,
        frame: cap::Granule,
        body: impl FnOnce(&mut [u8; SIZE]),
    ) -> Result<()> {
        frame.frame_map(
            VSPACE.cap(),
            ADDRESS,
            CapRights::read_write(),
            VmAttributes::DEFAULT,
        )?;
        // SAFETY: the frame is mapped there for reading and writing until the next line, the address is used for nothing
        // else, and only one thread runs this program.
        body(unsafe { &mut *(ADDRESS as *mut [u8; SIZE]) });
        Ok(frame.frame_unmap()?)
    }

    /// Reads words of a frame that is mapped nowhere.
    pub(crate) fn read<const N: usize>(
        &self,
        frame: cap::Granule,
        offsets: [usize; N],
    ) -> Result<[u64; N]> {
        frame.frame_map(
            VSPACE.cap(),
            ADDRESS,
            CapRights::read_only(),
            VmAttributes::DEFAULT,
        )?;
        let values = offsets.map(|offset| {
            assert!(
                offset.is_multiple_of(8) && offset < SIZE,
                "the word lies inside the page"
            );
            // SAFETY: the frame is mapped there until the end of this function, and the word inside it is aligned.
            unsafe { ((ADDRESS + offset) as *const u64).read_volatile() }
        });
        frame.frame_unmap()?;
        Ok(values)
    }
}
