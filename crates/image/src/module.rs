//! The one module the kernel is booted with: root-task's ELF64 file with the archive as a further segment.
//!
//! The kernel maps root-task's segments and knows nothing of archives; root-task finds its archive at
//! [`ARCHIVE_ADDRESS`], behind the magic. What no segment loads (symbols, debug lines) is left out.

use elf::abi::PF_R;

use crate::Error;
use crate::config::PAGE;
use crate::program::{Program, Segment};

/// Where the archive stands in root-task's address space.
pub const ARCHIVE_ADDRESS: u64 = 0x4000_0000;
/// Most bytes of it.
pub const ARCHIVE_MAX: u64 = 0x2000_0000;

/// Bytes of an ELF64 file header.
const FILE_HEADER: usize = 64;
/// Bytes of an ELF64 program header.
const PROGRAM_HEADER: usize = 56;

/// Joins root-task and archive.
///
/// # Errors
/// root-task lies where the archive goes, or the archive is too large.
pub fn join(place: &str, mut root_task: Program, archive: Vec<u8>) -> Result<Vec<u8>, Error> {
    let length = archive.len() as u64;
    if length > ARCHIVE_MAX {
        return Err(Error::new(
            place,
            format!("the packed system has {length} bytes, more than {ARCHIVE_MAX}"),
            "use smaller guest files",
        ));
    }
    if root_task.segments.iter().any(|s| s.end() > ARCHIVE_ADDRESS) {
        return Err(Error::new(
            place,
            format!("root-task reaches beyond {ARCHIVE_ADDRESS:#x}"),
            "link it lower",
        ));
    }
    root_task.segments.push(Segment {
        vaddr: ARCHIVE_ADDRESS,
        memory_size: length.next_multiple_of(PAGE),
        data: archive,
        flags: PF_R,
    });
    Ok(write(&root_task))
}

/// An ELF64 file of nothing but the program's segments, each page-aligned in the file too.
fn write(program: &Program) -> Vec<u8> {
    let table = FILE_HEADER + PROGRAM_HEADER * program.segments.len();
    let mut offset = (table as u64).next_multiple_of(PAGE);
    let mut file = file_header(program.entry, program.segments.len());
    for segment in &program.segments {
        file.extend(program_header(segment, offset));
        offset = (offset + segment.data.len() as u64).next_multiple_of(PAGE);
    }
    for segment in &program.segments {
        file.resize(file.len().next_multiple_of(PAGE as usize), 0);
        file.extend_from_slice(&segment.data);
    }
    file
}

/// ELF-64 object file format, "ELF header".
fn file_header(entry: u64, segments: usize) -> Vec<u8> {
    let mut header = b"\x7fELF\x02\x01\x01".to_vec();
    header.resize(16, 0);
    header.extend(2u16.to_le_bytes()); // ET_EXEC
    header.extend(62u16.to_le_bytes()); // EM_X86_64
    header.extend(1u32.to_le_bytes());
    for word in [entry, FILE_HEADER as u64, 0] {
        header.extend(word.to_le_bytes());
    }
    header.extend(0u32.to_le_bytes());
    for half in [FILE_HEADER, PROGRAM_HEADER, segments, 64, 0, 0] {
        header.extend((half as u16).to_le_bytes());
    }
    header
}

/// ELF-64 object file format, "Program header".
fn program_header(segment: &Segment, offset: u64) -> Vec<u8> {
    let mut header = 1u32.to_le_bytes().to_vec(); // PT_LOAD
    header.extend(segment.flags.to_le_bytes());
    let size = segment.data.len() as u64;
    for word in [
        offset,
        segment.vaddr,
        segment.vaddr,
        size,
        segment.memory_size,
        PAGE,
    ] {
        header.extend(word.to_le_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::tests::elf64;

    #[test]
    fn the_module_is_root_task_with_one_segment_more() {
        let file = elf64(
            0x20_1010,
            &[(0x20_1010, b"code", 4, 5), (0x20_3000, b"data", 0x1800, 6)],
        );
        let root_task = Program::read("root-task", "root-task", &file).expect("good");
        let module = join("root-task", root_task.clone(), b"UMBRAARC".to_vec()).expect("joined");
        let back = Program::read("root-task", "module", &module).expect("an ELF file");
        assert_eq!(back.entry, root_task.entry);
        assert_eq!(back.segments[..2], root_task.segments[..]);
        assert_eq!(back.segments[2].vaddr, ARCHIVE_ADDRESS);
        assert_eq!(back.segments[2].data, b"UMBRAARC");
        assert!(!back.segments[2].is_writable());
    }

    #[test]
    fn a_root_task_in_the_archives_place_is_refused() {
        let file = elf64(0, &[(ARCHIVE_ADDRESS, b"code", 4, 5)]);
        let root_task = Program::read("root-task", "root-task", &file).expect("good");
        assert!(join("root-task", root_task, Vec::new()).is_err());
    }
}
