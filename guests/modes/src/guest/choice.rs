//! Which modes to look at: those named on the command line, or all.

use guest_rt::{multiboot, println};

/// Real mode.
pub const REAL: &str = "real";
/// Protected mode without paging.
pub const PROTECTED: &str = "protected";
/// 2-level paging with pages of 4 KiB alone.
pub const TWO_LEVEL: &str = "two-level";
/// 2-level paging with CR4.PSE.
pub const TWO_LEVEL_PSE: &str = "two-level-pse";
/// Address bits 39..32 in 2-level paging.
pub const PSE36: &str = "pse36";
/// PAE paging.
pub const PAE: &str = "pae";
/// Long mode, 64-bit code.
pub const FOUR_LEVEL: &str = "four-level";
/// Long mode, 32-bit code.
pub const COMPATIBILITY: &str = "compatibility";

/// All words.
const WORDS: [&str; 8] = [
    REAL,
    PROTECTED,
    TWO_LEVEL,
    TWO_LEVEL_PSE,
    PSE36,
    PAE,
    FOUR_LEVEL,
    COMPATIBILITY,
];

/// The words given; none means all modes.
pub struct Choice {
    given: [bool; WORDS.len()],
}

impl Choice {
    /// What the loader passed.
    pub fn from_command_line() -> Self {
        Self {
            given: WORDS.map(multiboot::has_word),
        }
    }

    /// Whether nothing was named.
    pub fn is_all(&self) -> bool {
        !self.given.contains(&true)
    }

    /// Whether what goes by these words is looked at.
    pub fn takes(&self, words: &[&str]) -> bool {
        self.is_all() || self.words().any(|word| words.contains(&word))
    }

    /// Prints how many checks the modes that were named had.
    pub fn tell(&self, checks: usize) {
        self.words()
            .for_each(|word| println!("modes: {word} among {checks} checks"));
    }

    fn words(&self) -> impl Iterator<Item = &'static str> {
        let given = self.given.into_iter();
        WORDS
            .into_iter()
            .zip(given)
            .filter_map(|(word, given)| given.then_some(word))
    }
}
