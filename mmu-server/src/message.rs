//! A message's label and words, request and reply in the same place.

use protocol::mmu::{MAX_DATA, outcome};

/// Words before the data of the longest request.
const BEFORE_DATA: usize = 5;
/// Words of the longest message.
pub const MAX_WORDS: usize = BEFORE_DATA + MAX_DATA / 8;

/// A message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its label.
    pub label: u64,
    /// How many words it has. A request may claim more than [`MAX_WORDS`]; those beyond were not kept.
    pub length: usize,
    /// The words; what stands behind `length` means nothing.
    pub words: [u64; MAX_WORDS],
}

impl Message {
    /// A message without words.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            label: 0,
            length: 0,
            words: [0; MAX_WORDS],
        }
    }

    /// The first `N` words, if the message has as many.
    #[must_use]
    pub fn first<const N: usize>(&self) -> Option<[u64; N]> {
        let words = self.words.get(..self.length.min(MAX_WORDS))?;
        words.first_chunk().copied()
    }

    /// Makes it a reply.
    pub fn reply<const N: usize>(&mut self, label: u64, words: [u64; N]) {
        self.label = label;
        self.length = N;
        self.words[..N].copy_from_slice(&words);
    }

    /// Makes it the reply to a request without sense.
    pub fn refuse(&mut self) {
        self.reply(outcome::REFUSED, []);
    }

    /// Makes it a reply that carries `data`, in words from the first, padded with zeros.
    pub fn reply_data(&mut self, label: u64, data: &[u8]) {
        self.label = label;
        self.length = data.len().div_ceil(8).min(MAX_WORDS);
        for (word, bytes) in self.words.iter_mut().zip(data.chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_le_bytes(padded);
        }
    }

    /// Copies the data from word `at` on into `data`, unless the message is too short.
    #[must_use]
    pub fn data(&self, at: usize, data: &mut [u8]) -> Option<()> {
        let end = at.checked_add(data.len().div_ceil(8))?;
        let words = self.words.get(at..end).filter(|_| end <= self.length)?;
        for (bytes, word) in data.chunks_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
        }
        Some(())
    }
}

impl Default for Message {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_survives_the_words() {
        let mut message = Message::new();
        message.reply_data(0, b"twelve bytes");
        assert_eq!(message.length, 2);
        let mut data = [0; 12];
        assert_eq!(message.data(0, &mut data), Some(()));
        assert_eq!(&data, b"twelve bytes");
        assert_eq!(message.data(1, &mut data), None);
    }

    #[test]
    fn a_message_that_claims_more_words_than_there_are_is_cut() {
        let message = Message {
            length: 127,
            ..Message::new()
        };
        assert!(message.first::<MAX_WORDS>().is_some());
        assert_eq!(message.data(MAX_WORDS, &mut [0; 8]), None);
    }
}
