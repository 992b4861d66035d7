//! Text of a VM without the console, cut into lines for the system's log.
//!
//! Always: a line holds printable ASCII only, so that a guest's text cannot pass for a line of the system's own or move
//! the terminal's cursor; a line longer than the buffer is cut into several.

/// Most characters of a line.
pub const MAX: usize = 160;

/// A line under way.
#[derive(Debug)]
pub struct LineBuffer {
    text: [u8; MAX],
    len: usize,
}

impl Default for LineBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl LineBuffer {
    /// An empty line.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            text: [0; MAX],
            len: 0,
        }
    }

    /// Adds a byte; `print` gets the line if that ends it.
    pub fn push(&mut self, byte: u8, print: impl FnOnce(&str)) {
        match byte {
            b'\n' => self.end(print),
            b'\r' => {}
            _ => {
                self.text[self.len] = printable(byte);
                self.len += 1;
                if self.len == MAX {
                    self.end(print);
                }
            }
        }
    }

    /// Ends the line, if there is something on it.
    pub fn finish(&mut self, print: impl FnOnce(&str)) {
        if self.len != 0 {
            self.end(print);
        }
    }

    fn end(&mut self, print: impl FnOnce(&str)) {
        let line = &self.text[..core::mem::take(&mut self.len)];
        // Every byte is ASCII.
        print(core::str::from_utf8(line).unwrap_or_default());
    }
}

/// The byte, or a question mark where it is not printable ASCII.
#[must_use]
pub const fn printable(byte: u8) -> u8 {
    match byte {
        b'\t' => b' ',
        b' '..=b'~' => byte,
        _ => b'?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(bytes: &[u8]) -> Vec<String> {
        let (mut buffer, mut lines) = (LineBuffer::new(), Vec::new());
        for byte in bytes {
            buffer.push(*byte, |line| lines.push(line.to_string()));
        }
        buffer.finish(|line| lines.push(line.to_string()));
        lines
    }

    #[test]
    fn text_comes_line_by_line() {
        assert_eq!(split(b"one\r\n\ntwo\x1b[2J\tx"), ["one", "", "two?[2J x"]);
        assert_eq!(
            split(&[b'a'; MAX + 1])
                .iter()
                .map(String::len)
                .collect::<Vec<_>>(),
            [MAX, 1]
        );
    }

    proptest! {
        #[test]
        fn a_line_is_printable_whatever_comes(bytes in proptest::collection::vec(any::<u8>(), 0..1000)) {
            for line in split(&bytes) {
                prop_assert!(line.len() <= MAX && line.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            }
        }
    }
}
