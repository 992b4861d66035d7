//! The lines that say how a check went, and the end of the run.

use core::fmt;
use sel4::{Error, init_thread::slot, logging::PLAIN};

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

    /// Says how it went, to people and to the machine, and ends the run.
    pub(crate) fn end(&self) {
        let value = u8::from(self.failed != 0);
        let status = value << 1 | 1;
        log::info!(
            target: PLAIN,
            "umbra-end vm=root-task reason=exit-port value={value} status={status}"
        );
        let port = sel4::CPtr::from_bits(EXIT_PORT).cast::<sel4::cap_type::IOPort>();
        let path = slot::CNODE.cap().absolute_cptr(port);
        let control = slot::IO_PORT_CONTROL.cap();
        // Without the port the run ends by its time limit.
        let _ = control.ioport_control_issue(0xf4, 0xf4, &path);
        let _ = port.ioport_out8(0xf4, value);
    }
}

/// A slot that nothing else uses: the last of the CNode.
pub(crate) const EXIT_PORT: u64 = (1 << sel4::init_thread::CNODE_SIZE_BITS) - 1;
