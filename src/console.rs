//! What is seen of a run, and what is typed into it.

use std::io::{self, Write};

/// Ctrl-A: the next key is for us, as in QEMU.
const ESCAPE: u8 = 1;

/// Where output goes.
pub struct Screen {
    quiet: bool,
    /// The guest's output stands at the beginning of a line.
    fresh: bool,
    /// A part of the log that is no line yet.
    log: Vec<u8>,
}

impl Screen {
    /// `quiet`: the guest alone on stdout.
    pub fn new(quiet: bool) -> Self {
        Self {
            quiet,
            fresh: true,
            log: Vec::new(),
        }
    }

    /// Shows what the guest writes, as it comes.
    pub fn guest(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(last) = bytes.last() {
            self.fresh = *last == b'\n';
        }
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    /// Takes a part of the log; answers the lines it completes.
    pub fn log(&mut self, bytes: &[u8]) -> Vec<String> {
        self.log.extend_from_slice(bytes);
        let mut lines = Vec::new();
        while let Some(end) = self.log.iter().position(|&b| b == b'\n') {
            let line: Vec<u8> = self.log.drain(..=end).collect();
            lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        lines
    }

    /// What is left of the log without an end of line.
    pub fn rest(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.log);
        (!rest.is_empty()).then(|| String::from_utf8_lossy(&rest).trim_end().to_owned())
    }

    /// Shows a line of ours, not in the middle of one of the guest's.
    pub fn ours(&mut self, line: &str) -> io::Result<()> {
        let line = printable(line);
        if self.quiet {
            return writeln!(io::stderr(), "{line}");
        }
        let gap = if self.fresh { "" } else { "\n" };
        self.fresh = true;
        let mut out = io::stdout().lock();
        writeln!(out, "{gap}{line}")?;
        out.flush()
    }
}

/// A line of the log may repeat what a guest wrote: it must not steer the terminal.
fn printable(line: &str) -> String {
    line.chars()
        .map(|c| if c.is_control() && c != '\t' { '.' } else { c })
        .collect()
}

/// What a key is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Key {
    /// The guest.
    Guest(Vec<u8>),
    /// Ends the run.
    End,
    /// Shows the keys.
    Help,
}

/// Sorts what is typed.
#[derive(Default)]
pub struct Keyboard {
    escaped: bool,
}

impl Keyboard {
    /// What to do for some typed bytes, in order.
    pub fn sort(&mut self, bytes: &[u8]) -> Vec<Key> {
        let mut keys = Vec::new();
        let mut plain = Vec::new();
        for &byte in bytes {
            let ours = match (std::mem::take(&mut self.escaped), byte) {
                (false, ESCAPE) => {
                    self.escaped = true;
                    continue;
                }
                (true, b'x') => Key::End,
                (true, b'h' | b'?') => Key::Help,
                _ => {
                    plain.push(byte);
                    continue;
                }
            };
            keys.extend((!plain.is_empty()).then(|| Key::Guest(std::mem::take(&mut plain))));
            keys.push(ours);
        }
        keys.extend((!plain.is_empty()).then_some(Key::Guest(plain)));
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_to_the_guest_but_for_those_behind_ctrl_a() {
        let mut keyboard = Keyboard::default();
        assert_eq!(keyboard.sort(b"ab"), [Key::Guest(b"ab".into())]);
        assert_eq!(keyboard.sort(b"a\x01"), [Key::Guest(b"a".into())]);
        assert_eq!(keyboard.sort(b"xb"), [Key::End, Key::Guest(b"b".into())]);
        assert_eq!(keyboard.sort(b"\x01\x01x"), [Key::Guest(b"\x01x".into())]);
        assert_eq!(keyboard.sort(b"\x01h"), [Key::Help]);
    }

    #[test]
    fn the_log_comes_apart_into_lines() {
        let mut screen = Screen::new(true);
        assert!(screen.log(b"on").is_empty());
        assert_eq!(screen.log(b"e\r\ntwo\nthr"), ["one", "two"]);
        assert_eq!(screen.rest().as_deref(), Some("thr"));
        assert_eq!(screen.rest(), None);
    }

    #[test]
    fn the_log_cannot_steer_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\tc"), "a.[2Jb\tc");
    }
}
