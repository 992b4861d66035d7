//! What the loader tells: the command line (Multiboot 0.6.96, section 3.3).

use core::sync::atomic::{AtomicU32, Ordering};

/// What a multiboot 1 loader leaves in EAX.
const LOADER_MAGIC: u32 = 0x2bad_b002;
/// Flag of the boot information: the command line is there.
const HAS_COMMAND_LINE: u32 = 1 << 2;
/// Where in the boot information the command line's address stands.
const COMMAND_LINE: usize = 16;
/// Longer command lines are cut.
const LONGEST: usize = 4096;

/// EAX and EBX at the entry point; `boot.rs` stores them before anything else runs.
#[unsafe(no_mangle)]
static boot_magic: AtomicU32 = AtomicU32::new(0);
#[unsafe(no_mangle)]
static boot_information: AtomicU32 = AtomicU32::new(0);

/// The command line, empty when the loader gave none.
///
/// QEMU puts the kernel's file name in front of it; Umbra's loader does not. Look for words one knows.
pub fn command_line() -> &'static str {
    if boot_magic.load(Ordering::Relaxed) != LOADER_MAGIC {
        return "";
    }
    let information = boot_information.load(Ordering::Relaxed) as usize as *const u8;
    // SAFETY: the loader's magic says that EBX points at the boot information, which lies in the first GiB, outside this
    // image; nothing here writes to it. Its fields are aligned to nothing in particular.
    let (flags, text) = unsafe {
        (
            information.cast::<u32>().read_unaligned(),
            information.add(COMMAND_LINE).cast::<u32>().read_unaligned(),
        )
    };
    if flags & HAS_COMMAND_LINE == 0 {
        return "";
    }
    let text = text as usize as *const u8;
    // SAFETY: the flag says that a string ending in 0 lies there; reading stops at its end.
    let bytes = unsafe {
        let length = (0..LONGEST)
            .find(|&i| text.add(i).read() == 0)
            .unwrap_or(LONGEST);
        core::slice::from_raw_parts(text, length)
    };
    core::str::from_utf8(bytes).unwrap_or("")
}

/// Bytes of memory from 1 MiB up to the first hole, as the loader tells; 0 if it does not.
pub fn upper_memory() -> u64 {
    const HAS_MEMORY: u32 = 1;
    const UPPER: usize = 8;
    if boot_magic.load(Ordering::Relaxed) != LOADER_MAGIC {
        return 0;
    }
    let information = boot_information.load(Ordering::Relaxed) as usize as *const u8;
    // SAFETY: as in `command_line`.
    let (flags, kib) = unsafe {
        (
            information.cast::<u32>().read_unaligned(),
            information.add(UPPER).cast::<u32>().read_unaligned(),
        )
    };
    if flags & HAS_MEMORY == 0 {
        0
    } else {
        u64::from(kib) << 10
    }
}

/// The entries of `table` whose names stand on the command line.
pub fn named<T>(
    table: &'static [(&'static str, T)],
) -> impl Iterator<Item = &'static (&'static str, T)> {
    table.iter().filter(|(name, _)| has_word(name))
}

/// Likewise; all if none does.
pub fn named_or_all<T>(
    table: &'static [(&'static str, T)],
) -> impl Iterator<Item = &'static (&'static str, T)> {
    let all = named(table).next().is_none();
    table.iter().filter(move |(name, _)| all || has_word(name))
}

/// Whether `word` stands on the command line.
pub fn has_word(word: &str) -> bool {
    command_line()
        .split_ascii_whitespace()
        .any(|other| other == word)
}
