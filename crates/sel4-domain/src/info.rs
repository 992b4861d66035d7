//! What root-task tells a domain: a length, then a postcard-coded [`DomainInfo`].

use protocol::{layout::INFO_MAX, system::DomainInfo};

/// Bytes of the length.
const LENGTH: usize = 8;

/// Reads the information at `at`.
///
/// # Safety
///
/// The pages root-task wrote begin at `at`: the length and as many bytes as it says, up to [`INFO_MAX`] in all, are
/// mapped and nobody changes them.
pub(crate) unsafe fn read(at: *const u8) -> postcard::Result<DomainInfo> {
    // SAFETY: the caller promises it.
    let length = u64::from_le_bytes(unsafe { at.cast::<[u8; LENGTH]>().read() });
    if length > INFO_MAX - LENGTH as u64 {
        return Err(postcard::Error::DeserializeUnexpectedEnd);
    }
    // SAFETY: the caller promises it for this length.
    postcard::from_bytes(unsafe { core::slice::from_raw_parts(at.add(LENGTH), length as usize) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let info = DomainInfo {
            tsc_mhz: 2000,
            vms: Default::default(),
            archive_length: 0x1000,
        };
        let mut page = [0; 4096];
        let length = postcard::to_slice(&info, &mut page[LENGTH..])
            .unwrap()
            .len() as u64;
        page[..LENGTH].copy_from_slice(&length.to_le_bytes());
        // SAFETY: the page holds length and bytes.
        assert_eq!(unsafe { read(page.as_ptr()) }, Ok(info));
    }

    #[test]
    fn a_length_beyond_the_pages_is_refused() {
        // SAFETY: only the length is read when it is too great.
        assert!(unsafe { read((INFO_MAX + 1).to_le_bytes().as_ptr()) }.is_err());
    }
}
