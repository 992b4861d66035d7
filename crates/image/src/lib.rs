//! The composer: from `system.toml`, the programs of the domains and the guests' files to the one module that the
//! kernel's boot loader hands over.
//!
//! Always: input that cannot work is refused here, on the host, with one line that says where, what and what to do; what
//! comes out needs no further parsing of foreign formats in the booted system. Nothing here starts anything, asks the
//! environment or writes a file: bytes come in, bytes go out.
//!
//! ```text
//! system.toml ── config ──┐
//! guest files ── guest ───┼── archive ──┐
//! domains     ── program ─┘             ├── module ── QEMU's -initrd
//! root-task ────────────────────────────┘
//! ```
#![forbid(unsafe_code)]

pub mod archive;
pub mod config;
pub mod error;
pub mod guest;
pub mod initramfs;
pub mod module;
pub mod program;
pub mod root_task;

mod bytes;

pub use error::Error;
