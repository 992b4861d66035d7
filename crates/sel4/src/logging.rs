//! A `log` back end over the debug console.
//!
//! A record is one line: level, program, text. Records with the target [`PLAIN`] are lines that other programs read and
//! carry nothing but their text.

use crate::DebugWrite;
use core::fmt::Write;
use log::{LevelFilter, Log, Metadata, Record};

/// Target of lines printed as they are.
pub const PLAIN: &str = "plain";

/// The logger of a program.
#[derive(Debug)]
pub struct Logger {
    program: &'static str,
}

impl Logger {
    /// The logger of the program `program`.
    #[must_use]
    pub const fn new(program: &'static str) -> Self {
        Self { program }
    }
    /// Makes it the program's logger. Later calls change nothing.
    pub fn set(&'static self) {
        if log::set_logger(self).is_ok() {
            log::set_max_level(LevelFilter::Info);
        }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }
    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // Writing to the debug console cannot fail.
        let _ = if record.target() == PLAIN {
            writeln!(DebugWrite, "{}", record.args())
        } else {
            writeln!(
                DebugWrite,
                "{:<5} {}: {}",
                record.level(),
                self.program,
                record.args()
            )
        };
    }
    fn flush(&self) {}
}
