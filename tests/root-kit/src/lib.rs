//! What the root tasks of the tests share: memory and slots made into objects, frames to look at, the end of the run.
//!
//! Always: no object is made in memory that was given out before, and no slot is given out twice. What a test thinks of the
//! kernel's answers is its own business.
//!
//! What is not generic is `inline`: the compiler treats it as the program's own, so that what `bench-root` counts does not
//! depend on where a function's source stands.
#![no_std]
#![allow(unsafe_code)] // frames are shown at a fixed address

mod end;
mod kit;
mod shown;

pub use end::{EXIT_PORT, end};
pub use kit::{Guest, Kit, at, none, path, retype};
pub use shown::{Shown, WINDOW};
