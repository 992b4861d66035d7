//! What keeps the launcher from doing its work.

use std::fmt::{self, Write};
use std::path::Path;

/// Exit status of input that cannot work; the argument parser has the same.
pub const BAD_INPUT: u8 = 2;
/// Exit status of an objection of the oracle, like that of a failed domain.
pub const FINDING: u8 = 12;
/// Exit status of a machine that could not be started or ended without a verdict.
pub const MACHINE: u8 = 20;

/// A refusal or a mishap, in one line.
#[derive(Debug)]
pub enum Failure {
    /// The input cannot work.
    Input(String),
    /// The machine around us does not play along.
    Machine(String),
}

impl Failure {
    /// A file that cannot be read.
    pub fn reading(path: &Path, error: &std::io::Error) -> Self {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".into(),
            std::io::ErrorKind::IsADirectory => "is a folder".into(),
            _ => error.to_string(),
        };
        Self::Input(
            image::Error::new(path.to_string_lossy(), why, "name a file that can be read")
                .to_string(),
        )
    }

    /// The launcher's exit status.
    pub fn status(&self) -> u8 {
        match self {
            Self::Input(_) => BAD_INPUT,
            Self::Machine(_) => MACHINE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Input(line) | Self::Machine(line)) = self;
        // What the user named may have anything in it; the answer is one line all the same.
        line.chars().try_for_each(|c| match c.is_control() {
            true => write!(f, "{}", c.escape_default()),
            false => f.write_char(c),
        })
    }
}

impl From<image::Error> for Failure {
    fn from(error: image::Error) -> Self {
        Self::Input(error.to_string())
    }
}
