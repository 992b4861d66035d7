//! Why the system could not be built.

use core::fmt;
use protocol::system::Name;
use sel4::Error as KernelError;

/// A reason to give up.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Error {
    /// The kernel refused what should work.
    Kernel(KernelError),
    /// No untyped memory has room for an object of so many bits.
    Memory(u32),
    /// A table of fixed size is full: which.
    Full(&'static str),
    /// The processor has no nested paging, which this VM is to run under.
    NoNestedPaging(Name),
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
            Self::NoNestedPaging(vm) => write!(
                f,
                "this CPU has no nested paging, which VM {vm} asks for; in QEMU use -cpu max"
            ),
            Self::Archive(what) => write!(f, "the archive is damaged: {what}"),
        }
    }
}
