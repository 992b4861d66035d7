//! The exit port: a write ends the machine and carries a value out of it, as QEMU's `isa-debug-exit` does.
//!
//! Always: a write of 1, 2 or 4 bytes ends the run with the bytes written; a read has no effect and shows zero.
//!
//! | actor | threat | mitigation |
//! | --- | --- | --- |
//! | guest | ends its own machine | that is the port's use; it ends that VM alone |
//! | guest | a status that looks like the host's own | the caller maps values to odd statuses, the host's are even |
//! | guest | writes again after the end | the caller stops running it at the first |
//! | guest program without rights | reaches the port by IOPL 3 | the guest's own business, as on any PC |
//! | caller | passes more bits than the access had | cut to the access's size here |

use crate::cut;

/// What a write of `size` bytes carries out.
#[must_use]
pub const fn write(size: u8, value: u32) -> u32 {
    cut(size, value)
}

/// What a read shows.
#[must_use]
pub const fn read() -> u32 {
    0
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_write_carries_the_bytes_of_its_size() {
        assert_eq!(super::write(1, 0x1234_5678), 0x78);
        assert_eq!(super::write(2, 0x1234_5678), 0x5678);
        assert_eq!(super::write(4, 0x1234_5678), 0x1234_5678);
        assert_eq!(super::read(), 0);
    }
}
