//! Why no image could be composed: one line that says where, what, and what to do about it.

use std::fmt;

/// A refusal, for whoever asked for the image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    place: String,
    what: String,
    remedy: String,
}

impl Error {
    /// A refusal of what stands at `place` (a file, or a file and a line).
    #[must_use]
    pub fn new(
        place: impl Into<String>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            place: place.into(),
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names come from outside: whatever they contain, the message stays one line.
        let line = format!("{}: {}: {}", self.place, self.what, self.remedy);
        let mut gap = false;
        for word in line
            .split(|c: char| c.is_control())
            .filter(|w| !w.is_empty())
        {
            if gap {
                f.write_str(" ")?;
            }
            f.write_str(word)?;
            gap = true;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_line_whatever_the_names_contain() {
        let error = Error::new("a\nb", "bad\r\nname", "rename it");
        assert_eq!(error.to_string(), "a b: bad name: rename it");
    }
}
