use super::*;
use crate::program::tests::elf64;
use proptest::prelude::*;

const MEMORY: u64 = 64 << 20;

fn file(name: &str, bytes: impl Into<Vec<u8>>) -> File {
    File {
        name: name.into(),
        bytes: bytes.into(),
    }
}

fn request<'a>(kernel: &'a File, initrds: &'a [File]) -> Request<'a> {
    Request {
        kernel,
        initrds,
        append: "console=ttyS0",
        loads: &[],
        memory: MEMORY,
    }
}

fn refusal(bytes: impl Into<Vec<u8>>) -> String {
    let kernel = file("guest", bytes);
    let line = load(&request(&kernel, &[]))
        .map(|loaded| loaded.entry)
        .expect_err("refused")
        .to_string();
    assert!(
        line.starts_with("guest: ") && !line.contains('\n'),
        "{line}"
    );
    line
}

/// A bzImage whose kernel is `kernel`, 16 bytes a paragraph.
fn bzimage(kernel: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 1024];
    let mut put = |at: usize, value: &[u8]| image[at..at + value.len()].copy_from_slice(value);
    put(0x1f1, &[1]);
    put(0x1f4, &((kernel.len() / 16) as u32).to_le_bytes());
    put(0x1fe, &[0x55, 0xaa]);
    put(0x201, &[0x6a]);
    put(0x202, b"HdrS");
    put(0x206, &0x20f_u16.to_le_bytes());
    put(0x211, &[1]);
    put(0x214, &0x10_0000_u32.to_le_bytes());
    put(0x22c, &0x7fff_ffff_u32.to_le_bytes());
    put(0x236, &[1]);
    put(0x238, &2047_u32.to_le_bytes());
    put(0x258, &0x100_0000_u64.to_le_bytes());
    put(0x260, &0x80_0000_u32.to_le_bytes());
    image.extend(kernel);
    image
}

/// A multiboot header with these flags and address fields.
fn header(flags: u32, fields: &[u32]) -> Vec<u8> {
    let magic = 0x1bad_b002_u32;
    let sum = 0_u32.wrapping_sub(magic).wrapping_sub(flags);
    [&[magic, flags, sum], fields]
        .concat()
        .iter()
        .flat_map(|w| w.to_le_bytes())
        .collect()
}

/// Memory as the guest finds it.
fn memory(loaded: &Loaded) -> Vec<u8> {
    let mut memory = vec![0; MEMORY as usize];
    for piece in &loaded.pieces {
        let at = piece.gpa as usize;
        memory[at..at + piece.bytes.len()].copy_from_slice(&piece.bytes);
    }
    memory
}

fn word(memory: &[u8], at: u64) -> u64 {
    u64::from(crate::bytes::u32_at(memory, at as usize).expect("inside"))
}

fn text(memory: &[u8], at: u64) -> &str {
    let from = &memory[at as usize..];
    let end = from.iter().position(|&b| b == 0).expect("terminated");
    std::str::from_utf8(&from[..end]).expect("text")
}

#[test]
fn a_linux_kernel_is_laid_out_by_the_64_bit_protocol() {
    let kernel = file("bzImage", bzimage(&[0x90; 4096]));
    let initrds = [file("initrd", vec![7; 5000])];
    let loaded = load(&request(&kernel, &initrds)).expect("loads");
    let Entry::Linux64 {
        rip,
        zero_page,
        cr3,
        gdt,
    } = loaded.entry
    else {
        panic!("64-bit entry")
    };
    assert_eq!(rip, 0x100_0200);
    let memory = memory(&loaded);
    assert_eq!(memory[rip as usize], 0x90);
    assert_eq!(word(&memory, gdt + 0x14), 0x00af_9b00, "__BOOT_CS");

    assert_eq!(&memory[zero_page as usize + 0x202..][..4], b"HdrS");
    let ramdisk = word(&memory, zero_page + 0x218);
    assert_eq!(word(&memory, zero_page + 0x21c), 5000);
    assert_eq!(&memory[ramdisk as usize..][..5000], &[7; 5000]);
    assert!(ramdisk > MEMORY - 3 * 4096, "high");
    assert_eq!(
        text(&memory, word(&memory, zero_page + 0x228)),
        "console=ttyS0"
    );
    assert_eq!(memory[zero_page as usize + 0x1e8], 3);
    assert_eq!(word(&memory, zero_page + 0x2d0 + 8), 0x9_fc00);

    // The page tables map the first 4 GiB onto themselves.
    for address in [0_u64, 0x20_0000, 0x1234_5678, 0xffff_ffff] {
        let pdpt = word(&memory, cr3 + 8 * (address >> 39)) & !0xfff;
        let directory = word(&memory, pdpt + 8 * (address >> 30)) & !0xfff;
        let entry = word(&memory, directory + 8 * (address >> 21 & 511));
        assert_eq!(entry & 0x83, 0x83);
        assert_eq!((entry & !0xfff) + (address & 0x1f_ffff), address);
    }
}

#[test]
fn a_linux_kernel_without_a_64_bit_entry_is_laid_out_by_the_32_bit_protocol() {
    for (at, value) in [(0x236, 0), (0x206, 0x0a)] {
        let mut image = bzimage(&[0x90; 4096]);
        image[at] = value;
        let kernel = file("bzImage", image);
        let loaded = load(&request(&kernel, &[])).expect("loads");
        let Entry::Linux32 {
            eip,
            zero_page,
            gdt,
        } = loaded.entry
        else {
            panic!("32-bit entry")
        };
        let (zero_page, gdt) = (u64::from(zero_page), u64::from(gdt));
        assert_eq!(eip, 0x100_0000);
        let memory = memory(&loaded);
        assert_eq!(memory[eip as usize], 0x90);
        assert_eq!(word(&memory, gdt + 0x14), 0x00cf_9b00, "__BOOT_CS");
        assert_eq!(word(&memory, gdt + 0x1c), 0x00cf_9300, "__BOOT_DS");
        assert_eq!(word(&memory, zero_page + 0x214), 0x100_0000);
    }
}

#[test]
fn a_linux_kernel_is_told_where_the_tables_are() {
    let kernel = file("bzImage", bzimage(&[0x90; 4096]));
    let loaded = load(&request(&kernel, &[])).expect("loads");
    let Entry::Linux64 { zero_page, .. } = loaded.entry else {
        panic!("64-bit entry")
    };
    let memory = memory(&loaded);
    let rsdp = word(&memory, zero_page + 0x70) as usize;
    assert_eq!(&memory[rsdp..rsdp + 8], b"RSD PTR ");
}

#[test]
fn an_initrd_stays_below_the_kernels_limit() {
    let mut image = bzimage(&[0x90; 4096]);
    image[0x22c..0x230].copy_from_slice(&0x27f_ffff_u32.to_le_bytes());
    let kernel = file("bzImage", image);
    let initrds = [file("initrd", vec![7; 5000])];
    let loaded = load(&request(&kernel, &initrds)).expect("loads");
    let initrd = loaded.pieces.iter().find(|piece| piece.bytes[0] == 7);
    assert_eq!(initrd.expect("a piece").gpa, 0x27f_e000);
}

#[test]
fn another_loader_puts_the_same_kernel_and_header_into_memory() {
    use linux_loader::loader::{KernelLoader, bzimage::BzImage};
    use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

    let image = bzimage(&std::array::from_fn::<u8, 4096, _>(|n| n as u8));
    let theirs: GuestMemoryMmap =
        GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY as usize)]).expect("memory");
    let place = Some(GuestAddress(0x100_0000));
    let loaded =
        BzImage::load(&theirs, place, &mut std::io::Cursor::new(&image), None).expect("loads");
    let mut kernel = vec![0; 4096];
    theirs
        .read_slice(&mut kernel, loaded.kernel_load)
        .expect("inside");

    let file = file("bzImage", image);
    let ours = load(&request(&file, &[])).expect("loads");
    let Entry::Linux64 { rip, zero_page, .. } = ours.entry else {
        panic!("64-bit entry")
    };
    let memory = memory(&ours);
    assert_eq!(rip - 0x200, loaded.kernel_load.0);
    assert_eq!(memory[0x100_0000..0x100_1000], kernel[..]);
    let header = loaded.setup_header.expect("a header");
    let field = |offset| word(&memory, zero_page + offset);
    assert_eq!(field(0x202) as u32, { header.header });
    assert_eq!(field(0x206) as u16, { header.version });
    assert_eq!(field(0x22c) as u32, { header.initrd_addr_max });
    assert_eq!(field(0x230) as u32, { header.kernel_alignment });
    assert_eq!(field(0x238) as u32, { header.cmdline_size });
    assert_eq!(field(0x258), { header.pref_address });
    assert_eq!(field(0x260) as u32, { header.init_size });
}

#[test]
fn a_linux_kernel_that_cannot_run_is_refused() {
    let good = bzimage(&[0x90; 4096]);
    let but = |at: usize, value: &[u8]| {
        let mut image = good.clone();
        image[at..at + value.len()].copy_from_slice(value);
        refusal(image)
    };
    assert!(refusal(&good[..2000]).contains("truncated: copy it again"));
    let last = good.len() - 15;
    assert!(refusal(&good[..last - 1]).contains("truncated"));
    let short = file("guest", &good[..last]);
    assert!(
        load(&request(&short, &[])).is_ok(),
        "the last paragraph may be short"
    );
    assert!(but(0x206, &[9, 2]).contains("boot protocol 2.9"));
    assert!(but(0x211, &[0]).contains("zImage"));
    assert!(but(0x260, &(200_u32 << 20).to_le_bytes()).contains("--memory 216M"));
    assert!(but(0x258, &[0xff; 8]).contains("use a smaller one"));
    assert!(but(0x258, &[0; 8]).contains("below 1 MiB"));
    assert!(but(0x238, &[1, 0, 0, 0]).contains("shorten --append"));
}

#[test]
fn an_initrd_that_does_not_fit_or_is_one_too_many_is_refused() {
    let kernel = file("bzImage", bzimage(&[0x90; 4096]));
    let large = [file("initrd", vec![0; 50 << 20])];
    let line = load(&request(&kernel, &large))
        .expect_err("refused")
        .to_string();
    assert!(
        line.starts_with("initrd: ") && line.contains("--memory"),
        "{line}"
    );
    let two = [file("a", vec![0; 1]), file("b", vec![0; 1])];
    assert!(load(&request(&kernel, &two)).is_err());
}

#[test]
fn a_multiboot_elf_is_laid_out_with_information_and_modules() {
    let mut code = header(3, &[]);
    code.extend(b"code");
    let kernel = file(
        "dir/test.flat",
        elf64(0x8010, &[(0x8000, &code, 0x9000, 7)]),
    );
    let modules = [file("env/environ", b"A=1".to_vec())];
    let loaded = load(&request(&kernel, &modules)).expect("loads");
    let Entry::Multiboot { eip, info } = loaded.entry else {
        panic!("multiboot entry")
    };
    assert_eq!(eip, 0x8010);
    let info = u64::from(info);
    assert!(
        info > 1 << 20,
        "not where a program linked low keeps its data"
    );
    let memory = memory(&loaded);
    assert_eq!(&memory[0x800c..0x8010], b"code");
    assert_eq!(word(&memory, info) & 0x4d, 0x4d);
    assert_eq!(word(&memory, info + 4), 639);
    assert_eq!(word(&memory, info + 8), 63 << 10);
    assert_eq!(
        text(&memory, word(&memory, info + 16)),
        "test.flat console=ttyS0"
    );
    assert_eq!(word(&memory, info + 20), 1);
    let module = word(&memory, info + 24);
    let (start, end) = (word(&memory, module), word(&memory, module + 4));
    assert_eq!(&memory[start as usize..end as usize], b"A=1");
    assert_eq!(text(&memory, word(&memory, module + 8)), "environ");
    let (length, map) = (word(&memory, info + 44), word(&memory, info + 48));
    assert_eq!(length, 3 * 24);
    let third = map + 48;
    assert_eq!(
        (word(&memory, third), word(&memory, third + 4)),
        (20, 1 << 20)
    );
    assert_eq!(
        (word(&memory, third + 12), word(&memory, third + 20)),
        (63 << 20, 1)
    );
}

/// An ELF file with a PVH note, whose entry is `entry`.
fn pvh(entry: u64) -> Vec<u8> {
    let mut note = vec![4, 0, 0, 0, 8, 0, 0, 0, 18, 0, 0, 0];
    note.extend(b"Xen\0");
    note.extend(entry.to_le_bytes());
    let mut elf = elf64(
        0xffff_8000_0000_0000,
        &[(0x10_0000, b"code", 0x1000, 5), (0, &note, 24, 4)],
    );
    elf[64 + 56] = 4; // the second segment is PT_NOTE
    elf
}

#[test]
fn a_pvh_program_is_laid_out_with_start_information_and_modules() {
    let kernel = file("dir/vmlinux", pvh(0x10_0002));
    let modules = [
        file("a/first", b"1".to_vec()),
        file("second", b"22".to_vec()),
    ];
    let loaded = load(&request(&kernel, &modules)).expect("loads");
    let Entry::Pvh { eip, start_info } = loaded.entry else {
        panic!("PVH entry")
    };
    assert_eq!(eip, 0x10_0002);
    let memory = memory(&loaded);
    assert_eq!(&memory[0x10_0000..0x10_0004], b"code");
    let info = u64::from(start_info);
    assert_eq!(word(&memory, info), 0x336e_c578);
    assert_eq!((word(&memory, info + 4), word(&memory, info + 12)), (1, 2));
    assert_eq!(text(&memory, word(&memory, info + 24)), "console=ttyS0");
    let rsdp = word(&memory, info + 32) as usize;
    assert_eq!(&memory[rsdp..rsdp + 8], b"RSD PTR ");
    let second = word(&memory, info + 16) + 32;
    assert_eq!(memory[word(&memory, second) as usize..][..2], *b"22");
    assert_eq!(word(&memory, second + 8), 2);
    assert_eq!(text(&memory, word(&memory, second + 16)), "second");
    let map = word(&memory, info + 40);
    assert_eq!(word(&memory, info + 48), 3);
    assert_eq!(
        (word(&memory, map + 8), word(&memory, map + 16)),
        (0x9_fc00, 1)
    );
    assert_eq!(word(&memory, map + 48), 1 << 20);
}

#[test]
fn a_program_with_both_headers_starts_by_multiboot() {
    let mut code = header(0, &[]);
    code.resize(0x100, 0x90);
    let mut elf = pvh(0x10_0000);
    elf.resize(elf.len().next_multiple_of(4), 0);
    elf.extend(code);
    let kernel = file("both", elf);
    let entry = load(&request(&kernel, &[])).map(|loaded| loaded.entry);
    // Its ELF entry is of no use; that it was looked at shows the choice.
    assert!(entry.expect_err("refused").to_string().contains("entry"));
}

#[test]
fn a_pvh_entry_outside_the_program_is_refused() {
    assert!(refusal(pvh(0x20_0000)).contains("entry"));
}

#[test]
fn a_program_may_take_the_first_page_but_not_the_tables_place() {
    let code = header(0, &[]);
    let kernel = file("low", elf64(0x100, &[(0, &code, 0x9_0000, 7)]));
    let loaded = load(&request(&kernel, &[])).expect("loads");
    assert!(is_sound(&loaded, MEMORY));
    assert_eq!(memory(&loaded)[..4], code[..4]);
    let line = refusal(elf64(0xf_0000, &[(0xe_0000, &code, 0x1_8000, 7)]));
    assert!(line.contains("machine's tables"), "{line}");
}

#[test]
fn a_gap_that_was_filled_is_nobodys_place() {
    let code = header(0, &[]);
    let elf = elf64(
        0x10_0000,
        &[(0x10_0000, &code, 64, 7), (0x10_4000, b"end", 3, 7)],
    );
    let kernel = file("k", elf);
    let loads = [("s:1".to_string(), file("extra", vec![1; 64]), 0x10_2000)];
    let refused = load(&Request {
        loads: &loads,
        ..request(&kernel, &[])
    });
    assert!(refused.is_err());
}

#[test]
fn address_fields_are_followed_in_any_file() {
    // The header is at 0x10 of the file and at 0x10_0010 in memory.
    let mut bytes = vec![0; 0x10];
    bytes.extend(header(
        1 << 16,
        &[0x10_0010, 0x10_0000, 0, 0x11_0000, 0x10_0000],
    ));
    let kernel = file("flat", bytes.clone());
    let loaded = load(&request(&kernel, &[])).expect("loads");
    assert!(matches!(
        loaded.entry,
        Entry::Multiboot { eip: 0x10_0000, .. }
    ));
    assert_eq!(loaded.pieces[0].gpa, 0x10_0000);
    assert_eq!(loaded.pieces[0].bytes[..bytes.len()], bytes[..]);
    assert_eq!(loaded.occupied[0], 0x10_0000..0x11_0000);
}

#[test]
fn a_multiboot_program_that_cannot_run_is_refused() {
    let code = header(0, &[]);
    assert!(refusal(elf64(0x8000, &[(0x8000, &code, 128 << 20, 7)])).contains("--memory 130M"));
    assert!(refusal(elf64(0x10, &[(0x8000, &code, 64, 7)])).contains("entry"));
    assert!(refusal(elf64(0x8000, &[(0x8000, &header(8, &[]), 64, 7)])).contains("demands"));
    let whole = elf64(
        0x8000,
        &[(0x8000, &code, 64, 7), (0x9000, &[1; 100], 100, 7)],
    );
    assert!(refusal(&whole[..whole.len() - 1]).contains("truncated"));
    assert!(refusal(header(1 << 16, &[0, 1, 0, 0, 0])).contains("address fields"));
    assert!(refusal(header(1 << 16, &[0x1000, 0x1000])).contains("address fields"));
    assert!(refusal(header(0, &[])).contains("without addresses"));
}

#[test]
fn what_is_no_guest_is_refused() {
    assert!(refusal(b"".to_vec()).contains("empty"));
    assert!(refusal(b"#!/bin/sh".to_vec()).contains("no known guest format"));
    assert!(refusal(elf64(0, &[(0x8000, b"code", 4, 7)])).contains("neither a multiboot 1"));
    assert!(refusal(b"\x1f\x8b\x08".to_vec()).contains("gunzip"));
}

#[test]
fn a_file_loaded_over_the_guest_is_refused() {
    let code = header(0, &[]);
    let kernel = file("k", elf64(0x8000, &[(0x8000, &code, 0x1000, 7)]));
    let at = |at: u64| {
        let loads = [("system.toml:7".to_string(), file("extra", vec![1; 64]), at)];
        load(&Request {
            loads: &loads,
            ..request(&kernel, &[])
        })
        .map_err(|e| e.to_string())
    };
    assert!(
        at(0x8ff0)
            .expect_err("refused")
            .starts_with("system.toml:7: overlapping memory")
    );
    assert!(
        at(MEMORY - 8)
            .expect_err("refused")
            .contains("does not fit")
    );
    assert!(at(0x9000).is_ok());
}

/// Pieces lie inside memory and apart from each other.
fn is_sound(loaded: &Loaded, memory: u64) -> bool {
    let mut ranges: Vec<_> = loaded
        .pieces
        .iter()
        .map(|p| p.gpa..p.gpa + p.bytes.len() as u64)
        .collect();
    ranges.sort_by_key(|range| range.start);
    ranges.iter().all(|range| range.end <= memory)
        && ranges.windows(2).all(|pair| pair[0].end <= pair[1].start)
}

/// Damages a good file and loads it.
fn survives(mut bytes: Vec<u8>, cut: usize, damage: &[(usize, u8)]) -> bool {
    bytes.truncate(cut);
    for &(at, value) in damage {
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
    }
    let kernel = file("guest", bytes);
    let initrds = [file("initrd", vec![1; 10_000])];
    match load(&request(&kernel, &initrds)) {
        Ok(loaded) => is_sound(&loaded, MEMORY),
        Err(error) => !error.to_string().contains('\n'),
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_guest_or_one_line(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(survives(bytes, 600, &[]));
    }

    #[test]
    fn a_damaged_linux_kernel_is_loaded_soundly_or_refused(
        cut in 512usize..5200,
        damage in proptest::collection::vec((0x1f0usize..0x280, any::<u8>()), 0..6),
    ) {
        prop_assert!(survives(bzimage(&[0x90; 4096]), cut, &damage));
    }

    #[test]
    fn a_damaged_multiboot_elf_is_loaded_soundly_or_refused(
        cut in 0usize..400,
        damage in proptest::collection::vec((0usize..400, any::<u8>()), 0..6),
    ) {
        let code = header(3, &[]);
        let elf = elf64(0x8010, &[(0x8000, &code, 0x9000, 7), (0x20_0000, &[1; 64], 64, 6)]);
        prop_assert!(survives(elf, cut.max(100), &damage));
    }

    #[test]
    fn a_damaged_pvh_program_is_loaded_soundly_or_refused(
        cut in 0usize..400,
        damage in proptest::collection::vec((0usize..220, any::<u8>()), 0..6),
    ) {
        prop_assert!(survives(pvh(0x10_0000), cut.max(100), &damage));
    }

    #[test]
    fn any_address_fields_are_loaded_soundly_or_refused(fields in proptest::array::uniform5(any::<u32>()), low: bool) {
        let fields = if low { fields.map(|f| f % 0x400_0000) } else { fields };
        let mut bytes = header(1 << 16, &fields);
        bytes.resize(4096, 1);
        prop_assert!(survives(bytes, 4096, &[]));
    }
}
