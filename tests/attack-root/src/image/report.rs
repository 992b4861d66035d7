//! The lines that say how a check went, and the end of the run.

use core::fmt;
use sel4::{Error, logging::PLAIN};

/// Why a check failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// The kernel answered with this error.
    Answered(Error),
    /// The kernel did what it should have refused with this error.
    Done(Error),
    /// Something else.
    Because(&'static str),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Answered(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(error) => write!(f, "the kernel answered {error:?}"),
            Self::Done(error) => write!(f, "done, where {error:?} was due"),
            Self::Because(why) => f.write_str(why),
        }
    }
}

/// How a check went.
pub(crate) type Check = Result<(), Failure>;

/// Holds if the kernel refuses with this error.
pub(crate) fn refused<T>(result: sel4::Result<T>, with: Error) -> Check {
    match result {
        Err(error) if error == with => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Err(Failure::Done(with)),
    }
}

/// Holds if the condition does.
pub(crate) fn holds(condition: bool, otherwise: &'static str) -> Check {
    if condition {
        Ok(())
    } else {
        Err(Failure::Because(otherwise))
    }
}

/// All checks so far.
#[derive(Default)]
pub(crate) struct Report {
    failed: u64,
}

impl Report {
    /// One check's line.
    pub(crate) fn line(&mut self, name: &str, check: Check) {
        match check {
            Ok(()) => log::info!(target: PLAIN, "umbra-test {name} ok"),
            Err(why) => self.failure(name, format_args!("{why}")),
        }
    }

    /// The line of a check that counted something.
    pub(crate) fn counted(&mut self, name: &str, what: fmt::Arguments<'_>) {
        log::info!(target: PLAIN, "umbra-test {name} ok {what}");
    }

    /// The line of a check that failed.
    pub(crate) fn failure(&mut self, name: &str, why: fmt::Arguments<'_>) {
        self.failed += 1;
        log::info!(target: PLAIN, "umbra-test {name} failed: {why}");
    }

    /// Says how it went, and ends the run.
    pub(crate) fn end(&self) {
        root_kit::end(self.failed == 0);
    }
}
