//! Why the system could not be built.

use core::fmt;
use sel4::Error as KernelError;

/// A reason to give up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Error {
    /// The kernel refused what should work.
    Kernel(KernelError),
    /// No untyped memory has room for an object of so many bits.
    Memory(u32),
    /// A table of fixed size is full: which.
    Full(&'static str),
    /// The archive makes no sense: where.
    Archive(&'static str),
}

/// What building returns.
pub(crate) type Result<T> = core::result::Result<T, Error>;

impl From<KernelError> for Error {
    fn from(error: KernelError) -> Self {
        Self::Kernel(error)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(error) => write!(f, "the kernel answered {error:?}"),
            Self::Memory(bits) => write!(f, "no memory is left for an object of 2^{bits} bytes"),
            Self::Full(what) => write!(f, "too many {what}"),
            Self::Archive(what) => write!(f, "the archive is damaged: {what}"),
        }
    }
}
