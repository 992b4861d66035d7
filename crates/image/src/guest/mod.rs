//! Guest files: told apart by content, laid out in guest memory, refused here when they cannot run.
//!
//! Always: every piece of a [`Loaded`] guest lies inside guest memory and no two overlap. The booted system only copies.

mod bzimage;
mod layout;
mod multiboot;

use std::ops::Range;

use protocol::system::{Entry, MAX_PIECES};

use crate::Error;
use crate::config;

/// A file and its name in messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// The name.
    pub name: String,
    /// The content.
    pub bytes: Vec<u8>,
}

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Kernel or test program.
    pub kernel: &'a File,
    /// Linux: one initramfs at most; multiboot: the modules.
    pub initrds: &'a [File],
    /// Command line.
    pub append: &'a str,
    /// Files to load besides, each with its place in messages and its address.
    pub loads: &'a [(String, File, u64)],
    /// Bytes of guest memory, checked by [`config::check_memory`].
    pub memory: u64,
}

/// A guest laid out in its memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loaded {
    /// How it starts.
    pub entry: Entry,
    /// What to copy.
    pub pieces: Vec<Piece>,
    /// Memory it takes, with what it expects to be zero.
    pub occupied: Vec<Range<u64>>,
}

/// Bytes at an address of guest memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The address.
    pub gpa: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Lays the guest out.
///
/// # Errors
/// The file cannot run in this memory, or is no guest at all.
pub fn load(request: &Request) -> Result<Loaded, Error> {
    let file = request.kernel;
    let mut loaded = if file.bytes.is_empty() {
        return Err(Error::new(&file.name, "the guest file is empty", FORMATS));
    } else if bzimage::is_one(&file.bytes) {
        bzimage::load(request)?
    } else if let Some(header) = multiboot::find(&file.bytes) {
        multiboot::load(request, &header)?
    } else if file.bytes.starts_with(b"\x7fELF") {
        return Err(Error::new(
            &file.name,
            "an ELF file without a multiboot 1 header",
            FORMATS,
        ));
    } else {
        return Err(Error::new(&file.name, "no known guest format", FORMATS));
    };
    add_loads(request, &mut loaded)?;
    loaded.pieces.retain(|piece| !piece.bytes.is_empty());
    if loaded.pieces.len() > MAX_PIECES {
        return Err(Error::new(
            &file.name,
            "too many pieces to load",
            format!("have {MAX_PIECES} at most"),
        ));
    }
    Ok(loaded)
}

const FORMATS: &str = "use a Linux bzImage or a multiboot 1 program";

/// Adds the files that `system.toml` loads besides.
fn add_loads(request: &Request, loaded: &mut Loaded) -> Result<(), Error> {
    for (place, file, at) in request.loads {
        let refuse = |what: String| Error::new(place, what, "load it elsewhere");
        let range = range(*at, file.bytes.len() as u64).filter(|range| range.end <= request.memory);
        let Some(range) = range else {
            return Err(refuse(format!(
                "`{}` does not fit into guest memory at {at:#x}",
                file.name
            )));
        };
        if loaded.occupied.iter().any(|other| overlap(other, &range)) {
            return Err(refuse(format!(
                "overlapping memory: something else is loaded where `{}` goes",
                file.name
            )));
        }
        loaded.occupied.push(range);
        loaded.pieces.push(Piece {
            gpa: *at,
            bytes: file.bytes.clone(),
        });
    }
    Ok(())
}

/// The guest does not fit.
fn too_large(name: &str, what: &str, needed: Option<u64>, memory: u64) -> Error {
    let remedy = match needed.map(|bytes| bytes.next_multiple_of(config::MEMORY_STEP)) {
        Some(bytes) if bytes <= config::MEMORY_MAX => {
            format!(
                "give the guest more, from --memory {}",
                config::show_size(bytes)
            )
        }
        _ => "use a smaller one".into(),
    };
    let memory = config::show_size(memory);
    Error::new(
        name,
        format!("{what} does not fit into guest memory of {memory}"),
        remedy,
    )
}

/// The addresses of `length` bytes at `start`, if there are that many.
fn range(start: u64, length: u64) -> Option<Range<u64>> {
    Some(start..start.checked_add(length)?)
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

#[cfg(test)]
mod tests;
