//! The naive walker against examples worked out by hand from the manual.

use exit_abi::Mode;
use naive_walk::figure::{self, Figure};
use naive_walk::{
    Access, Grant, Grants, Limits, Refusal, Rights, Use, Who, grants, is_loadable, walk,
};
use words::{Gpa, Gva};

const LIMITS: Limits = Limits {
    width: 40,
    gigabyte_pages: true,
};
const LONG: u32 = Mode::PG | Mode::PE | Mode::PAE | Mode::LMA | Mode::NXE | Mode::WP;
const PAE: u32 = Mode::PG | Mode::PE | Mode::PAE | Mode::NXE | Mode::WP;
const NARROW: u32 = Mode::PG | Mode::PE | Mode::PSE | Mode::WP;
const USER_READ: Access = Access {
    what: Use::Read,
    who: Who::User,
};

/// A walk over entries given with their addresses, from CR3 0x1000; what is not given is zero.
fn look(
    mode: u32,
    entries: &[(u64, u64)],
    gva: u64,
    access: Access,
    limits: Limits,
) -> Result<Grant, Refusal> {
    let read = |at: Gpa, _: u32| {
        let given = entries.iter().find(|entry| entry.0 == at.bits());
        Some(given.map_or(0, |entry| entry.1))
    };
    let mode = Mode::from_bits(mode);
    walk(read, mode, 0x1000, None, limits, Gva::new(gva), access)
}

fn gpa(mode: u32, entries: &[(u64, u64)], gva: u64) -> Result<u64, Refusal> {
    look(mode, entries, gva, USER_READ, LIMITS).map(|grant| grant.gpa.bits())
}

/// The reserved bits of an 8-byte entry with 40 address bits and NXE.
fn mask(figure: &Figure) -> u64 {
    (0..64)
        .filter(|&n| figure.is_reserved(n, 40, true))
        .map(|n| 1 << n)
        .sum()
}

#[test]
fn the_figures_reserve_these_bits() {
    let high = 0x000f_ff00_0000_0000;
    let pae = 0x7ff0_0000_0000_0000;
    for (figure, expected) in [
        (figure::LONG_PML4E, high | 0x180),
        (figure::LONG_PDPE, high),
        (figure::LONG_PDPE_WITHOUT_1G, high | 0x80),
        (figure::LONG_PDPE_1G, high | 0x3fff_e000),
        (figure::LONG_PDE, high),
        (figure::LONG_PDE_2M, high | 0x001f_e000),
        (figure::LONG_PTE, high),
        (figure::PAE_PDPE, high | pae | 1 << 63 | 0x1e6),
        (figure::PAE_PDE, high | pae),
        (figure::PAE_PDE_2M, high | pae | 0x001f_e000),
        (figure::PAE_PTE, high | pae),
    ] {
        assert_eq!(mask(&figure), expected, "{figure:?}");
    }
}

#[test]
fn without_nxe_bit_63_is_reserved_where_it_would_be_nx() {
    assert!(figure::LONG_PTE.is_violated(1 << 63, 40, false));
    assert!(!figure::LONG_PTE.is_violated(1 << 63, 40, true));
}

#[test]
fn a_4_kib_page_takes_four_entries() {
    let entries = [
        (0x1000 + 8, 0x2007),
        (0x2000 + 8 * 2, 0x3007),
        (0x3000 + 8 * 3, 0x4007),
        (0x4000 + 8 * 4, 0xab_cdef_0007),
    ];
    let gva = 1 << 39 | 2 << 30 | 3 << 21 | 4 << 12 | 0x567;
    assert_eq!(gpa(LONG, &entries, gva), Ok(0xab_cdef_0567));
}

#[test]
fn a_2_mib_page_ignores_its_pat_bit() {
    let entries = [(0x1000, 0x2007), (0x2000, 0x3007), (0x3000, 0x60_1087)];
    assert_eq!(gpa(LONG, &entries, 0x12_3456), Ok(0x72_3456));
}

#[test]
fn a_1_gib_page_needs_the_feature() {
    let entries = [(0x1000, 0x2007), (0x2000, 0x4000_0087)];
    assert_eq!(gpa(LONG, &entries, 0x1234_5678), Ok(0x5234_5678));
    let without = Limits {
        gigabyte_pages: false,
        ..LIMITS
    };
    assert_eq!(
        look(LONG, &entries, 0, USER_READ, without),
        Err(Refusal::PageFault(0b1101))
    );
}

#[test]
fn pae_paging_begins_at_one_of_four_pointers() {
    let entries = [
        (0x1000 + 8 * 2, 0x2001),
        (0x2000 + 8, 0x3007),
        (0x3000 + 8 * 2, 0x9_8765_4007),
    ];
    let gva = 2 << 30 | 1 << 21 | 2 << 12 | 0x321;
    assert_eq!(gpa(PAE, &entries, gva), Ok(0x9_8765_4321));
    assert_eq!(gpa(PAE, &entries, gva | 1 << 40), Ok(0x9_8765_4321));
}

#[test]
fn a_4_mib_page_has_its_high_address_bits_in_the_middle() {
    // Address bits 39..32 are 0xa5, in bits 20..13.
    let entries = [(0x1004, 0x1000_0087 | 0xa5 << 13)];
    assert_eq!(gpa(NARROW, &entries, 0x0040_1234), Ok(0xa5_1000_1234));
    let of_36 = Limits {
        width: 36,
        ..LIMITS
    };
    assert_eq!(
        look(NARROW, &entries, 0x0040_1234, USER_READ, of_36),
        Err(Refusal::PageFault(0b1101))
    );
}

#[test]
fn without_pse_the_size_bit_is_nothing() {
    let entries = [(0x1004, 0x2087), (0x2000, 0x5007)];
    assert_eq!(gpa(NARROW & !Mode::PSE, &entries, 0x40_0000), Ok(0x5000));
}

#[test]
fn error_codes_say_what_was_tried_and_what_was_wrong() {
    let fetch = Access {
        what: Use::Fetch,
        who: Who::User,
    };
    let write = Access {
        what: Use::Write,
        who: Who::Supervisor { ac: false },
    };
    let read_only = [(0x1000, 0x2005), (0x2000, 0x5005)];
    let code = |mode, access| look(mode, &read_only, 0, access, LIMITS).err();
    assert_eq!(code(NARROW, write), Some(Refusal::PageFault(0b00011)));
    assert_eq!(code(NARROW & !Mode::WP, write), None);
    assert_eq!(code(NARROW, fetch), None);
    let absent = |mode, access| look(mode, &[], 0, access, LIMITS).err();
    assert_eq!(absent(NARROW, fetch), Some(Refusal::PageFault(0b00100)));
    assert_eq!(
        absent(NARROW | Mode::NXE, fetch),
        Some(Refusal::PageFault(0b00100))
    );
    assert_eq!(
        absent(NARROW | Mode::SMEP, fetch),
        Some(Refusal::PageFault(0b10100))
    );
    assert_eq!(absent(LONG, fetch), Some(Refusal::PageFault(0b10100)));
    let reserved = [(0x1000, 0x2087)];
    assert_eq!(
        look(LONG, &reserved, 0, fetch, LIMITS),
        Err(Refusal::PageFault(0b11101))
    );
}

/// The letters of what is granted: `rwx` of the user, of a supervisor without and with AC, and `rw` of implicit accesses.
fn letters(mode: u32, writable: bool, user: bool, executable: bool) -> String {
    let rights = Rights {
        writable,
        user,
        executable,
    };
    let granted: Grants = grants(Mode::from_bits(Mode::PG | mode), rights);
    let letter = |what| match what {
        Use::Read => 'r',
        Use::Write => 'w',
        Use::Fetch => 'x',
    };
    Access::ALL
        .into_iter()
        .map(|access| {
            if granted.has(access) {
                letter(access.what)
            } else {
                '-'
            }
        })
        .collect()
}

#[test]
fn pages_grant_what_chapter_5_6_says() {
    for (mode, writable, user, executable, expected) in [
        // Plain protection, with WP.
        (Mode::WP, true, true, true, "rwxrwxrwxrw"),
        (Mode::WP, false, true, true, "r-xr-xr-xr-"),
        (Mode::WP, true, false, true, "---rwxrwxrw"),
        (Mode::WP, true, true, false, "rw-rw-rw-rw"),
        // Without WP the supervisor writes anywhere.
        (0, false, true, true, "r-xrwxrwxrw"),
        (0, false, false, true, "---rwxrwxrw"),
        // SMEP stops fetches from user pages only.
        (Mode::WP | Mode::SMEP, true, true, true, "rwxrw-rw-rw"),
        (Mode::WP | Mode::SMEP, true, false, true, "---rwxrwxrw"),
        // SMAP stops data accesses to user pages, unless with AC; fetches pass.
        (Mode::WP | Mode::SMAP, true, true, true, "rwx--xrwx--"),
        (Mode::WP | Mode::SMAP, false, true, true, "r-x--xr-x--"),
        (Mode::SMAP, false, true, true, "r-x--xrwx--"),
        (Mode::WP | Mode::SMAP, true, false, true, "---rwxrwxrw"),
    ] {
        assert_eq!(
            letters(mode, writable, user, executable),
            expected,
            "mode {mode:#x}, writable {writable}, user {user}, executable {executable}"
        );
    }
}

#[test]
fn a_load_looks_at_reserved_bits_of_present_pointers_and_at_the_width() {
    let pae = |pdpte| is_loadable(Mode::from_bits(PAE), 0, [0, 0, 0, pdpte], LIMITS);
    assert!(pae(0x5019));
    assert!(pae(0x5006));
    assert!(!pae(0x5003));
    assert!(!pae(1 << 40 | 1));
    let long = |cr3| is_loadable(Mode::from_bits(LONG), cr3, [0; 4], LIMITS);
    assert!(long((1 << 40) - 1));
    assert!(!long(1 << 40));
}
