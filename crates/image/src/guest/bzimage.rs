//! Linux, and what boots like it, by the 64-bit or the 32-bit boot protocol (the kernel's Documentation/arch/x86/boot.rst):
//! the loader fills the zero page and a GDT, for a 64-bit entry builds identity page tables, puts the kernel where it prefers
//! to run and the initramfs high.

use protocol::system::Entry;

use super::layout::{self, place_high};
use super::{File, Loaded, Piece, Request, firmware, piece_range, range, too_large};
use crate::Error;
use crate::bytes::{part, put, u8_at, u16_at, u32_at, u64_at};

/// Where the loader's own structures stand, all in the first 64 KiB, which Linux leaves alone at first.
const GDT: u64 = 0x1000;
const ZERO_PAGE: u64 = 0x2000;
/// PML4, one PDPT, four page directories.
const TABLES: u64 = 0x3000;
const COMMAND_LINE: u64 = 0x9000;
const PAGE: usize = 4096;
/// The unit of the kernel's size.
const PARAGRAPH: u64 = 16;

/// Offsets in the setup header and the zero page (boot.rst, "Details of header fields", and zero-page.rst).
mod field {
    pub const RSDP: usize = 0x70;
    pub const E820_ENTRIES: usize = 0x1e8;
    pub const SETUP_SECTS: usize = 0x1f1;
    pub const SYSSIZE: usize = 0x1f4;
    pub const BOOT_FLAG: usize = 0x1fe;
    pub const JUMP_LENGTH: usize = 0x201;
    pub const HEADER_MAGIC: usize = 0x202;
    pub const VERSION: usize = 0x206;
    pub const TYPE_OF_LOADER: usize = 0x210;
    pub const LOAD_FLAGS: usize = 0x211;
    pub const CODE_32_START: usize = 0x214;
    pub const RAMDISK_IMAGE: usize = 0x218;
    pub const RAMDISK_SIZE: usize = 0x21c;
    pub const COMMAND_LINE: usize = 0x228;
    pub const INITRD_MAX: usize = 0x22c;
    pub const EXTENDED_LOAD_FLAGS: usize = 0x236;
    pub const COMMAND_LINE_SIZE: usize = 0x238;
    pub const PREFERRED_ADDRESS: usize = 0x258;
    pub const INIT_SIZE: usize = 0x260;
    pub const E820_TABLE: usize = 0x2d0;
}
/// The setup header may reach up to here in the zero page.
const HEADER_END_MAX: usize = 0x290;
/// First version that says where the kernel prefers to be and how much room it needs.
const VERSION_MIN: u16 = 0x20a;
/// First version with `xloadflags`.
const VERSION_EXTENDED_FLAGS: u16 = 0x20c;
/// `loadflags`: the kernel is loaded at 1 MiB or above.
const LOADED_HIGH: u8 = 1;
/// `xloadflags`: the kernel has a 64-bit entry, 0x200 behind its start. The 32-bit entry is its start.
const XLF_KERNEL_64: u16 = 1;
const ENTRY_64: u64 = 0x200;
/// A loader without a number of its own.
const LOADER_UNDEFINED: u8 = 0xff;

/// What the setup header says.
struct Header<'a> {
    /// The header's bytes, as they go into the zero page at 0x1f1.
    raw: &'a [u8],
    kernel: &'a [u8],
    address: u64,
    init_size: u64,
    initrd_max: u64,
    command_line_size: u64,
    width: Width,
}

/// Which protocol starts it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    Bits32,
    Bits64,
}

/// This is a bzImage, or was one before it was damaged.
pub fn is_one(file: &[u8]) -> bool {
    u16_at(file, field::BOOT_FLAG) == Some(0xaa55)
        && part(file, field::HEADER_MAGIC as u64, 4) == Some(b"HdrS")
}

/// Lays kernel, initramfs and the loader's structures out.
pub fn load(request: &Request) -> Result<Loaded, Error> {
    let name = &request.kernel.name;
    let header = Header::read(name, &request.kernel.bytes)?;
    let room = range(header.address, header.init_size).filter(|room| room.end <= request.memory);
    let Some(room) = room else {
        let needed = header.address.checked_add(header.init_size);
        return Err(too_large(
            name,
            "the kernel with room to unpack itself",
            needed,
            request.memory,
        ));
    };
    let mut occupied = vec![room];
    let initrd = initrd(request, &header, &occupied)?;
    let command_line = command_line(request, &header)?;
    let low = low_memory(request.memory, &header, initrd.as_ref(), command_line);
    occupied.push(GDT..GDT + low.len() as u64);
    let mut pieces = vec![
        Piece {
            gpa: GDT,
            bytes: low,
        },
        Piece {
            gpa: header.address,
            bytes: header.kernel.to_vec(),
        },
    ];
    if let Some(initrd) = initrd {
        occupied.push(piece_range(&initrd));
        pieces.push(initrd);
    }
    Ok(Loaded {
        entry: header.entry(),
        pieces,
        occupied,
    })
}

impl<'a> Header<'a> {
    fn read(name: &str, file: &'a [u8]) -> Result<Self, Error> {
        let version = u16_at(file, field::VERSION).unwrap_or(0);
        if version < VERSION_MIN {
            return Err(Error::new(
                name,
                format!(
                    "a Linux kernel of boot protocol {}.{}",
                    version >> 8,
                    version & 0xff
                ),
                "use one of protocol 2.10 or later (Linux 2.6.31)",
            ));
        }
        let truncated = || Error::new(name, "the Linux kernel is truncated", "copy it again");
        let header = Self::fields(file).ok_or_else(truncated)?;
        if u8_at(file, field::LOAD_FLAGS).is_none_or(|flags| flags & LOADED_HIGH == 0) {
            return Err(Error::new(
                name,
                "a Linux kernel that only a real-mode boot loader starts (zImage)",
                "use a bzImage",
            ));
        }
        if header.address < layout::HIGH_START {
            return Err(Error::new(
                name,
                "a Linux kernel that wants to run below 1 MiB",
                "the file is damaged: copy it again",
            ));
        }
        Ok(header)
    }

    /// The fields, if file and header are as long as they say.
    fn fields(file: &'a [u8]) -> Option<Self> {
        let header_end = field::HEADER_MAGIC + usize::from(u8_at(file, field::JUMP_LENGTH)?);
        let raw = file.get(field::SETUP_SECTS..header_end.min(HEADER_END_MAX))?;
        if header_end < field::INIT_SIZE + 4 {
            return None;
        }
        // Zero stands for four, as in boot sectors of old.
        let sectors = match u8_at(file, field::SETUP_SECTS)? {
            0 => 4,
            sectors => u64::from(sectors),
        };
        let size = u64::from(u32_at(file, field::SYSSIZE)?) * PARAGRAPH;
        let start = (sectors + 1) * 512;
        // The size is in paragraphs; the file may end inside the last one.
        let there = (file.len() as u64).checked_sub(start)?;
        let kernel = part(file, start, there.min(size))?;
        if kernel.is_empty() || there.next_multiple_of(PARAGRAPH) < size {
            return None;
        }
        Some(Self {
            raw,
            kernel,
            address: u64_at(file, field::PREFERRED_ADDRESS)?,
            init_size: u64::from(u32_at(file, field::INIT_SIZE)?).max(size),
            initrd_max: u64::from(u32_at(file, field::INITRD_MAX)?) + 1,
            command_line_size: u64::from(u32_at(file, field::COMMAND_LINE_SIZE)?),
            width: width(file)?,
        })
    }

    fn entry(&self) -> Entry {
        match self.width {
            Width::Bits64 => Entry::Linux64 {
                rip: self.address + ENTRY_64,
                zero_page: ZERO_PAGE,
                cr3: TABLES,
                gdt: GDT,
            },
            // The addresses lie in guest memory, which ends below 4 GiB.
            Width::Bits32 => Entry::Linux32 {
                eip: self.address as u32,
                zero_page: ZERO_PAGE as u32,
                gdt: GDT as u32,
            },
        }
    }
}

/// The 64-bit entry is taken where there is one.
fn width(file: &[u8]) -> Option<Width> {
    let has_64_bit_entry = u16_at(file, field::VERSION)? >= VERSION_EXTENDED_FLAGS
        && u16_at(file, field::EXTENDED_LOAD_FLAGS)? & XLF_KERNEL_64 != 0;
    Some(if has_64_bit_entry {
        Width::Bits64
    } else {
        Width::Bits32
    })
}

/// The initramfs, as high as the kernel allows.
fn initrd(
    request: &Request,
    header: &Header,
    occupied: &[std::ops::Range<u64>],
) -> Result<Option<Piece>, Error> {
    let file: &File = match request.initrds {
        [] => return Ok(None),
        [file] => file,
        [_, second, ..] => {
            return Err(Error::new(
                &second.name,
                "a second initrd for Linux",
                "join them into one file",
            ));
        }
    };
    let size = file.bytes.len() as u64;
    match place_high(occupied, size, request.memory.min(header.initrd_max)) {
        Some(gpa) => Ok(Some(Piece {
            gpa,
            bytes: file.bytes.clone(),
        })),
        None => {
            let needed = header.address + header.init_size + size + PAGE as u64;
            Err(too_large(
                &file.name,
                "the initrd",
                Some(needed),
                request.memory,
            ))
        }
    }
}

fn command_line<'a>(request: &Request<'a>, header: &Header) -> Result<&'a [u8], Error> {
    let text = request.append.as_bytes();
    let room = header.command_line_size.min(2 * PAGE as u64 - 1);
    if text.len() as u64 > room || text.contains(&0) {
        return Err(Error::new(
            &request.kernel.name,
            format!("a command line of {} bytes", text.len()),
            format!("shorten --append to {room} bytes without zeros"),
        ));
    }
    Ok(text)
}

/// Everything from the GDT to the end of the command line.
fn low_memory(
    memory: u64,
    header: &Header,
    initrd: Option<&Piece>,
    command_line: &[u8],
) -> Vec<u8> {
    let at = |gpa: u64| (gpa - GDT) as usize;
    let mut low = vec![0; at(COMMAND_LINE) + command_line.len() + 1];
    put(&mut low, at(GDT), &gdt(header.width));
    put(&mut low, at(ZERO_PAGE), &zero_page(memory, header, initrd));
    if header.width == Width::Bits64 {
        put(&mut low, at(TABLES), &identity_tables());
    }
    put(&mut low, at(COMMAND_LINE), command_line);
    low
}

/// boot.rst, "32-bit boot protocol" and "64-bit boot protocol": __BOOT_CS 0x10 is flat code of the entry's width,
/// __BOOT_DS 0x18 flat data. (APM vol. 2, 4.7 and 4.8.)
fn gdt(width: Width) -> Vec<u8> {
    let code = match width {
        Width::Bits64 => 0x00af_9b00_0000_ffff_u64,
        Width::Bits32 => 0x00cf_9b00_0000_ffff,
    };
    [0, 0, code, 0x00cf_9300_0000_ffff]
        .iter()
        .flat_map(|entry| entry.to_le_bytes())
        .collect()
}

fn zero_page(memory: u64, header: &Header, initrd: Option<&Piece>) -> Vec<u8> {
    let mut page = vec![0; PAGE];
    put(&mut page, field::SETUP_SECTS, header.raw);
    put(&mut page, field::TYPE_OF_LOADER, &[LOADER_UNDEFINED]);
    put(&mut page, field::RSDP, &firmware::RSDP.to_le_bytes());
    // Whoever loads a kernel elsewhere than it says there has to say where.
    let start = header.address as u32;
    put(&mut page, field::CODE_32_START, &start.to_le_bytes());
    put(
        &mut page,
        field::COMMAND_LINE,
        &(COMMAND_LINE as u32).to_le_bytes(),
    );
    let (image, size) = initrd.map_or((0, 0), |i| (i.gpa as u32, i.bytes.len() as u32));
    put(&mut page, field::RAMDISK_IMAGE, &image.to_le_bytes());
    put(&mut page, field::RAMDISK_SIZE, &size.to_le_bytes());
    let map = layout::map(memory);
    put(&mut page, field::E820_ENTRIES, &[map.len() as u8]);
    for (n, (start, length, kind)) in map.into_iter().enumerate() {
        let entry = field::E820_TABLE + 20 * n;
        put(&mut page, entry, &start.to_le_bytes());
        put(&mut page, entry + 8, &length.to_le_bytes());
        put(&mut page, entry + 16, &kind.to_le_bytes());
    }
    page
}

/// The first 4 GiB onto themselves in 2 MiB pages (APM vol. 2, 5.3.4).
fn identity_tables() -> Vec<u8> {
    const TABLE: u64 = 0x3; // present, writable
    const LARGE: u64 = 0x83; // and a 2 MiB page
    let mut tables = vec![0u8; 6 * PAGE];
    put(
        &mut tables,
        0,
        &((TABLES + PAGE as u64) | TABLE).to_le_bytes(),
    );
    for n in 0..4 {
        let directory = TABLES + (2 + n) * PAGE as u64;
        put(
            &mut tables,
            PAGE + 8 * n as usize,
            &(directory | TABLE).to_le_bytes(),
        );
    }
    for n in 0..4 * 512_u64 {
        put(
            &mut tables,
            2 * PAGE + 8 * n as usize,
            &(n << 21 | LARGE).to_le_bytes(),
        );
    }
    tables
}
