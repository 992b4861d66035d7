//! Errors of invocations.

use crate::Word;

pub use crate::sys::Error;

/// The result of an invocation.
pub type Result<T> = core::result::Result<T, Error>;

/// An invocation's reply label as a result.
///
/// # Panics
///
/// On a label that is no error code: the kernel broke its word.
#[inline]
pub(crate) fn from_label(label: Word) -> Result<()> {
    if label == 0 {
        return Ok(());
    }
    match Error::from_label(label) {
        Some(error) => Err(error),
        None => panic!("the kernel answered an invocation with label {label:#x}"),
    }
}
