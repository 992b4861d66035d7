//! Guest files: told apart by content, laid out in guest memory, refused here when they cannot run.
//!
//! Always: every piece of a [`Loaded`] guest lies inside guest memory and no two overlap. The booted system only copies.

mod bzimage;
mod elf_file;
mod firmware;
mod layout;
mod multiboot;
mod pvh;

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
    /// Linux: one initramfs at most; multiboot and PVH: the modules.
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
    } else if let Some(entry) = pvh::find(&file.bytes) {
        pvh::load(request, entry)?
    } else {
        return Err(refusal(file));
    };
    firmware::add(&file.name, &mut loaded)?;
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

const FORMATS: &str = "use a Linux bzImage, or a multiboot 1 or PVH program";

/// What is wrong with a file that is none of these.
fn refusal(file: &File) -> Error {
    let is = |magic: &[u8]| file.bytes.starts_with(magic);
    if is(b"\x7fELF") {
        let what = "an ELF file with neither a multiboot 1 header nor a PVH entry";
        return Error::new(&file.name, what, FORMATS);
    }
    if is(b"\x1f\x8b") {
        let remedy = "unpack it with gunzip and name what comes out";
        return Error::new(&file.name, "a file compressed by gzip", remedy);
    }
    Error::new(&file.name, "no known guest format", FORMATS)
}

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

/// A program in memory.
struct Program {
    pieces: Vec<Piece>,
    occupied: Vec<Range<u64>>,
    entry: u64,
}

impl Program {
    /// It lies in guest memory and begins inside itself; answers where it begins.
    fn entry_inside(&self, request: &Request) -> Result<u32, Error> {
        let name = &request.kernel.name;
        let end = self.occupied.iter().map(|range| range.end).max();
        if let Some(end) = end.filter(|end| *end > request.memory) {
            return Err(too_large(name, "the program", Some(end), request.memory));
        }
        u32::try_from(self.entry)
            .ok()
            .filter(|entry| {
                self.occupied
                    .iter()
                    .any(|range| range.contains(&u64::from(*entry)))
            })
            .ok_or_else(|| damaged(name, "its entry lies outside what is loaded"))
    }

    /// Adds something at the highest free place; answers its address. `what` names it in messages.
    fn place(
        &mut self,
        request: &Request,
        name: &str,
        what: &str,
        bytes: &[u8],
    ) -> Result<u64, Error> {
        let length = bytes.len() as u64;
        let gpa = layout::place_in_reach(&self.occupied, length, request.memory)
            .ok_or_else(|| too_large(name, what, None, request.memory))?;
        self.occupied.push(gpa..gpa + length);
        self.pieces.push(Piece {
            gpa,
            bytes: bytes.to_vec(),
        });
        Ok(gpa)
    }

    /// Adds each module; answers the addresses.
    fn place_modules(&mut self, request: &Request) -> Result<Vec<Range<u64>>, Error> {
        let mut ranges = Vec::new();
        for file in request.initrds {
            let gpa = self.place(request, &file.name, "the module", &file.bytes)?;
            ranges.push(gpa..gpa + file.bytes.len() as u64);
        }
        Ok(ranges)
    }

    /// Adds boot information that points into itself: `write` makes it for an address, always of the same size.
    fn place_information(
        &mut self,
        request: &Request,
        write: impl Fn(u64) -> Vec<u8>,
    ) -> Result<u32, Error> {
        let unplaced = write(0);
        let gpa = self.place(
            request,
            &request.kernel.name,
            "the boot information",
            &unplaced,
        )?;
        if let Some(piece) = self.pieces.last_mut() {
            piece.bytes = write(gpa);
        }
        Ok(gpa as u32)
    }

    /// Pieces with small gaps between them joined: a program of many small segments stays few pieces.
    fn finish(mut self, entry: Entry) -> Loaded {
        self.pieces.sort_by_key(|piece| piece.gpa);
        let mut pieces: Vec<Piece> = Vec::new();
        for piece in self.pieces {
            if let Some(last) = pieces.last_mut() {
                let gap = piece_range(last).end..piece.gpa;
                let length = gap.end - gap.start;
                if length < MERGE_GAP && !overlap(&gap, &(layout::LOW_END..layout::HIGH_START)) {
                    last.bytes.resize(last.bytes.len() + length as usize, 0);
                    last.bytes.extend(piece.bytes);
                    self.occupied.push(gap);
                    continue;
                }
            }
            pieces.push(piece);
        }
        Loaded {
            entry,
            pieces,
            occupied: self.occupied,
        }
    }
}

/// Gaps below this are filled with zeros.
const MERGE_GAP: u64 = 1 << 20;

fn damaged(name: &str, what: &str) -> Error {
    Error::new(
        name,
        what,
        "the file is truncated or damaged: build or copy it again",
    )
}

/// The last component of a path.
fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Appends a zero-terminated text; answers its address, if the first byte stands at `base`.
fn put_text(blob: &mut Vec<u8>, base: u64, text: &str) -> u64 {
    let at = base + blob.len() as u64;
    blob.extend(text.bytes().filter(|&b| b != 0));
    blob.push(0);
    at
}

/// Pads to a multiple of `align`; answers the address reached.
fn pad(blob: &mut Vec<u8>, base: u64, align: usize) -> u64 {
    blob.resize(blob.len().next_multiple_of(align), 0);
    base + blob.len() as u64
}

/// The addresses a piece takes.
fn piece_range(piece: &Piece) -> Range<u64> {
    piece.gpa..piece.gpa + piece.bytes.len() as u64
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
