//! What a domain is told, page by page as it is written: a length, then the postcard-coded text. Only one page of it is in
//! memory at a time.

use core::mem;

use postcard::ser_flavors::{Flavor, Size};
use postcard::{Error, Result, serialize_with_flavor};
use protocol::layout::INFO_MAX;
use protocol::system::DomainInfoRef;
use words::addr::PAGE_SIZE;

const PAGE: usize = PAGE_SIZE as usize;

/// Calls `write` with the offset of each page, ascending, and its bytes; the last page may be short.
///
/// # Errors
///
/// There is more to say than there is room for, or `write` gives up with `None`.
pub fn pages(info: &DomainInfoRef<'_>, write: impl FnMut(u64, &[u8]) -> Option<()>) -> Result<()> {
    let length = serialize_with_flavor(info, Size::default())?;
    if length as u64 > INFO_MAX - 8 {
        return Err(Error::SerializeBufferFull);
    }
    let mut pages = Pages {
        page: [0; PAGE],
        used: 0,
        offset: 0,
        write,
    };
    pages.try_extend(&(length as u64).to_le_bytes())?;
    serialize_with_flavor(info, pages)
}

/// A writer that hands on each page once it is full.
struct Pages<F> {
    page: [u8; PAGE],
    used: usize,
    offset: u64,
    write: F,
}

impl<F: FnMut(u64, &[u8]) -> Option<()>> Pages<F> {
    fn hand_on(&mut self) -> Result<()> {
        let used = mem::take(&mut self.used);
        let offset = self.offset;
        self.offset += used as u64;
        (self.write)(offset, &self.page[..used]).ok_or(Error::SerializeBufferFull)
    }
}

impl<F: FnMut(u64, &[u8]) -> Option<()>> Flavor for Pages<F> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> Result<()> {
        self.page[self.used] = byte;
        self.used += 1;
        if self.used == PAGE {
            self.hand_on()?;
        }
        Ok(())
    }

    fn finalize(mut self) -> Result<()> {
        if self.used != 0 {
            self.hand_on()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::system::{
        Blob, DomainInfo, Entry, Flush, MAX_PIECES, MAX_VMS, Paging, Piece, Policy, Vm,
    };

    fn vm() -> Vm {
        let piece = Piece {
            gpa: u64::MAX,
            data: Blob {
                offset: u64::MAX,
                length: u64::MAX,
            },
        };
        Vm {
            name: "main".try_into().expect("short"),
            memory: u64::MAX,
            shadow_bits: 11,
            shadow_pages: 2048,
            paging: Paging::Shadow,
            policy: Policy::Vtlb,
            flush: Flush::Tag,
            priority: 90,
            console: true,
            pieces: core::iter::repeat_n(piece, MAX_PIECES).collect(),
            entry: Entry::Linux32 {
                eip: 1,
                zero_page: 2,
                gdt: 3,
            },
            vmm: 1,
            mmu: 2,
        }
    }

    #[test]
    fn what_is_written_reads_as_what_was_meant() {
        let vms: Vec<Vm> = core::iter::repeat_n(vm(), MAX_VMS).collect();
        for vms in [&vms[..0], &vms[..1], &vms] {
            let info = DomainInfoRef {
                tsc_mhz: 2300,
                vms,
                archive_length: 1 << 30,
            };
            let (mut bytes, mut offsets) = (Vec::new(), Vec::new());
            let written = pages(&info, |offset, page| {
                offsets.push(offset);
                bytes.extend_from_slice(page);
                Some(())
            });
            written.expect("room enough");
            let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes"));
            assert_eq!(length as usize, bytes.len() - 8);
            let expected: Vec<u64> = (0..bytes.len() as u64).step_by(PAGE).collect();
            assert_eq!(offsets, expected);
            let read: DomainInfo = postcard::from_bytes(&bytes[8..]).expect("the same structure");
            assert_eq!(read.vms.as_slice(), vms);
            assert_eq!(
                (read.tsc_mhz, read.archive_length),
                (info.tsc_mhz, info.archive_length)
            );
        }
    }

    #[test]
    fn what_has_no_room_is_not_begun_and_a_failed_page_ends_it() {
        let vms: Vec<Vm> = core::iter::repeat_n(vm(), 200).collect();
        let info = |vms| DomainInfoRef {
            tsc_mhz: 1,
            vms,
            archive_length: 0,
        };
        let mut begun = 0;
        let mut write = |info, answer| {
            pages(&info, |_, _| {
                begun += 1;
                answer
            })
        };
        assert!(write(info(&vms), Some(())).is_err());
        assert!(write(info(&vms[..1]), None).is_err());
        assert!(write(info(&vms[..1]), Some(())).is_ok());
        assert_eq!(begun, 2);
    }
}
