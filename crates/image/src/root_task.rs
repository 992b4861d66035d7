//! A root task of somebody's own, booted as it is: whether the kernel can load it.
//!
//! The kernel takes any ELF64 file for x86_64 with fixed addresses. What it could only refuse with a panic, or could not
//! finish loading, is refused here, with one line.

use sel4_abi::USER_TOP;
use sel4_abi::boot_info::MAX_IMAGE_PAGES;

use crate::Error;
use crate::bytes::{part, u8_at, u16_at, u32_at, u64_at};
use crate::config::PAGE;

/// Page tables of an image beside one for each 512 pages, and in all.
const SPARE_TABLES: u64 = 3 * 64;
const MAX_TABLES: u64 = 256;
/// The pages behind the image hold the IPC buffer and the boot information.
const BEHIND: u64 = 1 << 30;
const LAST: u64 = USER_TOP - BEHIND;
/// Memory for the kernel, its first objects, and somewhat for the root task to work with.
const OTHER_MEMORY: u64 = 64 << 20;
/// Most bytes of a file: QEMU puts it below 4 GiB.
const MAX_FILE: u64 = 1 << 30;

const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PROGRAM_HEADER: u64 = 56;

/// Checks the file and answers the bytes of machine memory it needs. `place` names it in messages.
///
/// # Errors
/// The kernel could not load it.
pub fn check(place: &str, file: &[u8]) -> Result<u64, Error> {
    let refuse = |(what, remedy): Refusal| Error::new(place, what, remedy);
    kind(file).map_err(refuse)?;
    let segments = segments(file).map_err(refuse)?;
    entry(file, &segments).map_err(refuse)?;
    size(file, &segments).map_err(refuse)
}

/// What is wrong, and what to do about it.
type Refusal = (String, &'static str);

const LINK: &str = "link it for addresses from 0x1000 up to 0x7fffbffff000, without gaps";
const BUILD: &str = "build it as a static program for x86_64 (-m64 -static -no-pie)";
const AGAIN: &str = "it may be damaged: build it again";

fn refusal<T>(what: impl Into<String>, remedy: &'static str) -> Result<T, Refusal> {
    Err((what.into(), remedy))
}

/// ELF-64 object file format, "ELF header".
fn kind(file: &[u8]) -> Result<(), Refusal> {
    if file.get(..4) != Some(b"\x7fELF") {
        return refusal("is not an ELF file", BUILD);
    }
    match u8_at(file, 4) {
        Some(2) => {}
        Some(1) => return refusal("is a 32-bit program", BUILD),
        _ => return refusal("is not an ELF file", BUILD),
    }
    if u8_at(file, 5) != Some(1) || u16_at(file, 18) != Some(62) {
        return refusal("is not for x86_64", BUILD);
    }
    match u16_at(file, 16) {
        Some(2) => Ok(()),
        Some(3) => refusal("has no fixed addresses", BUILD),
        _ => refusal("is no program", BUILD),
    }
}

/// Addresses `[start, end)` of a segment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Range {
    start: u64,
    end: u64,
}

/// ELF-64 object file format, "Program header": what is loaded, by address.
fn segments(file: &[u8]) -> Result<Vec<Range>, Refusal> {
    let table = u64_at(file, 32).zip(u16_at(file, 54)).zip(u16_at(file, 56));
    let Some(((offset, each), count)) = table else {
        return refusal("ends within its header", AGAIN);
    };
    if u64::from(each) != PROGRAM_HEADER {
        return refusal("has program headers of a wrong size", AGAIN);
    }
    let Some(headers) = part(file, offset, u64::from(count) * PROGRAM_HEADER) else {
        return refusal("has its program headers outside the file", AGAIN);
    };
    let mut ranges = Vec::new();
    for header in headers.chunks_exact(PROGRAM_HEADER as usize) {
        match u32_at(header, 0) {
            Some(PT_INTERP) => return refusal("needs a loader and libraries", BUILD),
            Some(PT_LOAD) => ranges.extend(segment(file, header)?),
            _ => {}
        }
    }
    if ranges.is_empty() {
        return refusal("has nothing to load", BUILD);
    }
    ranges.sort();
    for pair in ranges.windows(2) {
        if pair[0].end > pair[1].start {
            let at = pair[1].start;
            return refusal(format!("has segments that overlap at {at:#x}"), LINK);
        }
    }
    Ok(ranges)
}

fn segment(file: &[u8], header: &[u8]) -> Result<Option<Range>, Refusal> {
    let field = |offset| u64_at(header, offset).unwrap_or_default();
    let (offset, start, in_file, in_memory) = (field(8), field(16), field(32), field(40));
    if in_memory == 0 {
        return Ok(None);
    }
    if part(file, offset, in_file).is_none() || in_file > in_memory {
        return refusal("has a segment outside the file", AGAIN);
    }
    match start.checked_add(in_memory) {
        Some(end) if start >= PAGE && end <= LAST => Ok(Some(Range { start, end })),
        _ if start >= USER_TOP => refusal(
            format!("is linked at {start:#x}, where the kernel is"),
            LINK,
        ),
        _ => refusal(
            format!("is linked at {start:#x}, where no program can be"),
            LINK,
        ),
    }
}

fn entry(file: &[u8], segments: &[Range]) -> Result<(), Refusal> {
    let entry = u64_at(file, 24).unwrap_or_default();
    if segments.iter().any(|s| s.start <= entry && entry < s.end) {
        return Ok(());
    }
    refusal(format!("starts at {entry:#x}, where it has nothing"), BUILD)
}

fn size(file: &[u8], segments: &[Range]) -> Result<u64, Refusal> {
    let whole = whole(segments);
    let segments = whole.as_ref().map_or(segments, std::slice::from_ref);
    let pages = blocks(segments, PAGE);
    if pages > MAX_IMAGE_PAGES {
        return refusal(
            format!("has {pages} pages, more than {MAX_IMAGE_PAGES} that get a capability"),
            "make it smaller",
        );
    }
    // One table of each level for what is mapped behind the image.
    let tables: u64 = (1..=3)
        .map(|level| 1 + blocks(segments, PAGE << (9 * level)))
        .sum();
    if tables > MAX_TABLES.min(pages / 512 + SPARE_TABLES) {
        return refusal("is spread over too many page tables", LINK);
    }
    let length = file.len() as u64;
    if length > MAX_FILE {
        return refusal(
            format!("has {length} bytes, more than {MAX_FILE}"),
            "strip it",
        );
    }
    Ok(length + (pages + tables) * PAGE + OTHER_MEMORY)
}

/// The image as one range, if the kernel takes the gaps between its segments as pages too.
fn whole(segments: &[Range]) -> Option<Range> {
    let (first, last) = (segments.first()?, segments.last()?);
    let (start, end) = (first.start / PAGE * PAGE, last.end);
    let range = Range { start, end };
    ((end - start).div_ceil(PAGE) <= MAX_IMAGE_PAGES).then_some(range)
}

/// How many naturally aligned blocks of `bytes` the ascending segments touch.
fn blocks(segments: &[Range], bytes: u64) -> u64 {
    let (mut count, mut next) = (0, 0);
    for segment in segments {
        let (first, end) = (
            (segment.start / bytes).max(next),
            segment.end.div_ceil(bytes),
        );
        if end > first {
            count += end - first;
            next = end;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::tests::elf64;
    use proptest::prelude::*;

    fn good() -> Vec<u8> {
        elf64(
            0x40_1010,
            &[
                (0x40_1000, b"code of it, 16 by", 17, 5),
                (0x40_3000, b"data", 0x1800, 6),
            ],
        )
    }

    #[track_caller]
    fn refused(file: &[u8], why: &str) {
        let error = check("file", file).expect_err(why).to_string();
        assert!(
            error.starts_with("file: ") && error.contains(why),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1);
    }

    #[test]
    fn a_good_program_says_how_much_memory_it_needs() {
        let need = check("file", &good()).expect("good");
        assert!((OTHER_MEMORY..OTHER_MEMORY + (1 << 20)).contains(&need));
        let large = elf64(0x40_0000, &[(0x40_0000, b"", 200 << 20, 6)]);
        assert!(check("file", &large).expect("good") > 264 << 20);
        // Gaps take memory, unless they are too large.
        let gap = |end: u64| elf64(0x40_0000, &[(0x40_0000, b"", 1, 6), (end - 1, b"", 1, 6)]);
        assert!(check("file", &gap(200 << 20)).expect("good") > 256 << 20);
        assert!(check("file", &gap(1 << 40)).expect("good") < 65 << 20);
    }

    #[test]
    fn what_is_no_program_for_this_machine_is_refused() {
        refused(b"", "not an ELF file");
        refused(b"MZ, and more of it than a header has", "not an ELF file");
        let change = |at: usize, byte: u8| {
            let mut file = good();
            file[at] = byte;
            file
        };
        refused(&change(4, 1), "32-bit");
        refused(&change(5, 2), "not for x86_64");
        refused(&change(18, 183), "not for x86_64");
        refused(&change(16, 3), "no fixed addresses");
        refused(&change(16, 1), "no program");
        refused(&change(54, 32), "wrong size");
        refused(&change(64, 3), "loader");
        refused(&change(33, 0xff), "outside the file");
        refused(&good()[..50], "ends within its header");
        refused(&good()[..120], "program headers outside the file");
        refused(&good()[..178], "segment outside the file");
        refused(&elf64(0x40_0000, &[]), "nothing to load");
    }

    #[test]
    fn what_is_linked_where_it_cannot_go_is_refused() {
        let at = |start: u64, size: u64| elf64(start, &[(start, b"", size, 5)]);
        refused(&at(0, 0x1000), "where no program can be");
        refused(&at(u64::MAX - 5, 10), "where the kernel is");
        refused(&at(0xffff_ffff_8000_0000, 0x1000), "where the kernel is");
        refused(&at(0x8000_0000_0000, 0x1000), "where the kernel is");
        refused(&at(USER_TOP - 0x1000, 0x1000), "where no program can be");
        refused(
            &at(0x40_0000, u64::MAX - 0x50_0000),
            "where no program can be",
        );
        let over = [
            (0x40_0000, &b""[..], 0x2000, 5),
            (0x40_1fff, b"", 0x1000, 6),
        ];
        refused(&elf64(0x40_0000, &over), "overlap at 0x401fff");
        refused(
            &elf64(0x50_0000, &[(0x40_0000, b"", 0x1000, 5)]),
            "starts at 0x500000",
        );
    }

    #[test]
    fn what_is_too_large_or_too_scattered_is_refused() {
        refused(
            &elf64(0x40_0000, &[(0x40_0000, b"", 300 << 20, 6)]),
            "pages, more than",
        );
        refused(
            &elf64(0x40_0000, &[(0x40_0000, b"", 1 << 46, 6)]),
            "pages, more than",
        );
        let scattered: Vec<(u64, &[u8], u64, u32)> =
            (1..100).map(|n| (n << 39, &b""[..], 0x1000, 6)).collect();
        refused(&elf64(1 << 39, &scattered), "too many page tables");
    }

    #[test]
    fn blocks_that_segments_share_count_once() {
        let range = |start, end| Range { start, end };
        let segments = [
            range(0x1800, 0x2001),
            range(0x2800, 0x2900),
            range(0x5000, 0x6000),
        ];
        assert_eq!(blocks(&segments, 0x1000), 3);
        assert_eq!(blocks(&segments, 0x20_0000), 1);
    }

    /// Numbers at which arithmetic turns.
    const EDGES: &[u64] = &[
        0,
        1,
        0xfff,
        0x1000,
        0x40_1000,
        1 << 31,
        1 << 32,
        USER_TOP - 1,
        USER_TOP,
        LAST,
        1 << 47,
        1 << 63,
        !0xfff,
        u64::MAX - 1,
        u64::MAX,
    ];

    proptest! {
        #[test]
        fn a_file_with_wrong_numbers_is_taken_with_a_bound_or_refused_in_one_line(
            numbers in proptest::collection::vec((0usize..21, 0..EDGES.len()), 1..6),
        ) {
            // The words of the file's header and of its program headers.
            let mut file = good();
            for (word, edge) in numbers {
                let at = 8 * word;
                file[at..at + 8].copy_from_slice(&EDGES[edge].to_le_bytes());
            }
            match check("file", &file) {
                Ok(need) => prop_assert!(need < 1 << 32, "{need:#x}"),
                Err(error) => prop_assert_eq!(error.to_string().lines().count(), 1),
            }
        }

        #[test]
        fn a_damaged_file_never_panics(cut in 0usize..300, at in 0usize..300, byte: u8) {
            let mut file = good();
            file.truncate(cut);
            if let Some(place) = file.get_mut(at) {
                *place = byte;
            }
            let _ = check("file", &file);
        }
    }
}
