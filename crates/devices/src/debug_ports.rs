//! Ports that are written for their side effects on an observer: the POST code port, which software also writes to
//! wait about a microsecond, and a marker port for measurements.
//!
//! Always: nothing happens; the POST port reads back the last byte written, as its latch does on a PC.
//!
//! | actor | threat | mitigation |
//! | --- | --- | --- |
//! | guest | floods the port | each access is one exit on the guest's own time; nothing is kept but a byte |
//! | guest | signals to other guests | the latch belongs to one VM |
//! | guest | expects a real delay | an exit takes longer than the microsecond it hopes for |
//! | observer | takes markers for truth | they are the guest's claims; nothing in the system acts on them |
//! | caller | wide accesses | the low byte counts |

/// The POST code latch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PostCode {
    last: u8,
}

impl PostCode {
    /// A latch that shows zero.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: 0 }
    }

    /// The last code.
    #[must_use]
    pub const fn read(&self) -> u8 {
        self.last
    }

    /// Stores a code.
    pub const fn write(&mut self, code: u8) {
        self.last = code;
    }
}

/// What a read of the marker port shows. Writes vanish.
pub const MARKER_READ: u32 = 0;

#[cfg(test)]
mod tests {
    #[test]
    fn the_latch_shows_the_last_code() {
        let mut post = super::PostCode::new();
        assert_eq!(post.read(), 0);
        post.write(0x55);
        assert_eq!(post.read(), 0x55);
    }
}
