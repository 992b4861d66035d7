//! Frames that this program sees, too.

use sel4::cap;

/// Where frames are mapped to be shown, or for a test's own ends: 2 MiB far from the image, with tables of their own. Frames
/// are shown from its end down.
pub const WINDOW: usize = 0x10_0000_0000;
/// Words of a page.
const PAGE_WORDS: usize = 512;

/// A frame this program sees, too.
#[derive(Clone, Copy)]
pub struct Shown {
    /// Its capability, mapped here.
    pub frame: cap::Granule,
    words: *mut u64,
}

impl Shown {
    /// The frame that is mapped as the `nth` one in the window, counted from 0, before anybody has this.
    #[inline]
    pub(crate) const fn new(frame: cap::Granule, nth: usize) -> Self {
        Self {
            frame,
            words: Self::place(nth) as *mut u64,
        }
    }

    /// Where the `nth` frame is shown.
    #[inline]
    const fn place(nth: usize) -> usize {
        assert!(
            nth < PAGE_WORDS,
            "the window has room for one table's frames"
        );
        WINDOW + 4096 * (PAGE_WORDS - 1 - nth)
    }

    /// Where it is.
    #[must_use]
    #[inline]
    pub fn address(&self) -> usize {
        self.words.addr()
    }

    /// Reads a word.
    #[must_use]
    #[inline]
    pub fn read(&self, word: usize) -> u64 {
        assert!(word < PAGE_WORDS);
        // SAFETY: the frame is mapped there for good, the word lies inside it, and others may change it at any time.
        unsafe { self.words.add(word).read_volatile() }
    }

    /// Writes a word.
    #[inline]
    pub fn write(&self, word: usize, value: u64) {
        assert!(word < PAGE_WORDS);
        // SAFETY: as above.
        unsafe { self.words.add(word).write_volatile(value) }
    }

    /// Writes bytes from the page's beginning on.
    #[inline]
    pub fn code(&self, bytes: &[u8]) {
        for (n, piece) in bytes.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..piece.len()].copy_from_slice(piece);
            self.write(n, u64::from_le_bytes(word));
        }
    }
}
