//! The grid of cases: which entries, control bits and accesses are tried with which.
//!
//! A walk is long or short (`leaf`, the level it ends at) and one of its entries is *special*: it takes every combination
//! of its bits while the others take a few backgrounds. So in [`rights`] and [`reserved`]; in [`paths`] each entry has
//! rights of its own, in [`races`] an entry changes during the walk, and [`addresses`] looks at what addresses have besides
//! indices.
#![allow(dead_code)] // the small grid is for builds with mutants

pub mod case;
pub mod loads;
pub mod tables;

pub use case::Case;
use exit_abi::Mode;
use shadow::Limits;
use tables::{Tables, table};
use words::x86::pte;

/// How much of the grid.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// All of it.
    Full,
    /// Enough to see any one rule missing.
    Small,
}

/// What a case is told to; the first difference ends the run.
pub type Check<'a> = &'a mut dyn FnMut(&Case) -> Result<(), String>;

/// A part of the grid, for one format.
type Family = fn(Format, Size, Check) -> Result<(), String>;

/// A format of tables: its control bits, its top level, and where walks may end.
#[derive(Clone, Copy)]
pub struct Format {
    pub bits: u32,
    pub top: u32,
    pub leaves: &'static [u32],
    pub gva: u64,
}

const LONG: Format = Format {
    bits: Mode::PG | Mode::PE | Mode::PAE | Mode::LMA,
    top: 4,
    leaves: &[1, 2, 3],
    gva: tables::GVA_LONG,
};
const PAE: Format = Format {
    bits: Mode::PG | Mode::PE | Mode::PAE,
    top: 2,
    leaves: &[1, 2],
    gva: tables::GVA_PAE,
};
const NARROW: Format = Format {
    bits: Mode::PG | Mode::PE,
    top: 2,
    leaves: &[1, 2],
    gva: tables::GVA_NARROW,
};
/// Compatibility mode is long mode below 4 GiB: for the tables it is no other format.
const FORMATS: [Format; 4] = [
    LONG,
    PAE,
    Format {
        bits: NARROW.bits | Mode::PSE,
        ..NARROW
    },
    NARROW,
];

impl Format {
    fn is_wide(&self) -> bool {
        self.bits & Mode::PAE != 0
    }
    /// The entry at `level` of a walk that ends at `leaf`, with `bits` besides P and what leads on.
    fn entry(&self, level: u32, leaf: u32, bits: u64) -> u64 {
        let target = if level == leaf {
            [0, 0x2345_6000, 0x2340_0000, 0x4000_0000][level as usize]
        } else {
            table(level - 1)
        };
        let size = if level == leaf && level > 1 {
            pte::PS
        } else {
            0
        };
        self.cut(target | size | pte::P | bits)
    }
    fn cut(&self, entry: u64) -> u64 {
        if self.is_wide() {
            entry
        } else {
            entry & 0xffff_ffff
        }
    }
    fn space(&self, bits: u32) -> Case {
        let cr3 = table(self.top);
        Case {
            mode: self.bits | bits,
            cr3,
            pdptes: [0, 0, table(2) | pte::P, 0],
            gva: self.gva,
            limits: Limits {
                width: 40,
                gigabyte_pages: true,
            },
            ..Case::default()
        }
    }
}

/// CR0.WP, CR4.SMEP, CR4.SMAP and EFER.NXE, each way.
fn controls() -> impl Iterator<Item = u32> {
    (0..16).map(|n| spread32(n, &[Mode::WP, Mode::SMEP, Mode::SMAP, Mode::NXE]))
}

/// The bits of `n`, each put where `at` says.
fn spread32(n: u32, at: &[u32]) -> u32 {
    let chosen = |&(index, _): &(usize, &u32)| n >> index & 1 != 0;
    at.iter()
        .enumerate()
        .filter(chosen)
        .map(|(_, bit)| bit)
        .sum()
}

fn spread(n: u64, at: &[u64]) -> u64 {
    let chosen = |&(index, _): &(usize, &u64)| n >> index & 1 != 0;
    at.iter()
        .enumerate()
        .filter(chosen)
        .map(|(_, bit)| bit)
        .sum()
}

/// Processors: widths, with 1 GiB pages and without.
pub const LIMITS: [Limits; 8] = {
    const fn limits(width: u32, gigabyte_pages: bool) -> Limits {
        Limits {
            width,
            gigabyte_pages,
        }
    }
    [
        limits(36, false),
        limits(36, true),
        limits(32, false),
        limits(32, true),
        limits(40, false),
        limits(40, true),
        limits(52, false),
        limits(52, true),
    ]
};

/// What entries other than the special one hold.
const BACKGROUNDS: [u64; 5] = [
    pte::RW | pte::US,
    pte::RW | pte::US | pte::A | pte::D,
    pte::US | pte::A,
    pte::RW | pte::A,
    pte::RW | pte::US | pte::A | pte::NX,
];

/// Runs everything; the number of cases, or the first difference.
pub fn run_all(size: Size) -> Result<u64, String> {
    let tables = Tables::default();
    let mut count = 0;
    let check: Check = &mut |case| {
        count += 1;
        case.check(&tables)
    };
    // The short ones first: a test with a rule knocked out ends where it shows.
    off(check)?;
    directory_pointers(check)?;
    let families: [Family; 5] = [races, addresses, rights, reserved, paths];
    for family in families {
        for format in FORMATS {
            family(format, size, check)?;
        }
    }
    Ok(count + loads::run()?)
}

/// One special entry with any bits that have a name.
fn rights(format: Format, size: Size, check: Check) -> Result<(), String> {
    const NAMED: [u64; 8] = [
        pte::P,
        pte::RW,
        pte::US,
        pte::A,
        pte::D,
        pte::PS,
        pte::G,
        pte::NX,
    ];
    let backgrounds = if size == Size::Full { 5 } else { 1 };
    let named = if format.is_wide() { 256 } else { 128 };
    for &leaf in format.leaves {
        for special in leaf..=format.top {
            for background in &BACKGROUNDS[..backgrounds] {
                for n in 0..named {
                    let mut case = format.space(0);
                    for level in leaf..=format.top {
                        case.entries[level as usize] = format.entry(level, leaf, *background);
                    }
                    let flip = spread(n, &NAMED);
                    let entry = format.entry(special, leaf, 0) & !(pte::P | pte::PS);
                    case.entries[special as usize] = entry | flip;
                    for bits in controls() {
                        case.mode = format.bits | bits;
                        for (context, access) in case::contexts(false) {
                            case.mode = format.bits | bits | context;
                            case.access = access;
                            check(&case)?;
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

/// One special entry with any one bit more, on processors of several widths, with and without 1 GiB pages.
fn reserved(format: Format, size: Size, check: Check) -> Result<(), String> {
    const NAMED: [u64; 4] = [pte::P, pte::PS, pte::G, pte::NX];
    let limits = match size {
        Size::Full => &LIMITS[..],
        Size::Small => &LIMITS[..2],
    };
    for &leaf in format.leaves {
        for special in leaf..=format.top {
            for (n, all) in (0..16).flat_map(|n| [(n, 0), (n, pte::RW | pte::US | pte::A | pte::D)])
            {
                for extra in (0..64).map(|bit| 1 << bit) {
                    let mut case = format.space(0);
                    for level in leaf..=format.top {
                        case.entries[level as usize] = format.entry(level, leaf, BACKGROUNDS[1]);
                    }
                    let entry = format.entry(special, leaf, all) & !(pte::P | pte::PS);
                    case.entries[special as usize] =
                        format.cut((entry | spread(n, &NAMED)) ^ extra);
                    for &limits in limits {
                        case.limits = limits;
                        for bits in [0, Mode::NXE, Mode::SMEP, Mode::NXE | Mode::SMAP] {
                            for (context, access) in case::a_few_contexts() {
                                case.mode = format.bits | Mode::WP | bits | context;
                                case.access = access;
                                check(&case)?;
                            }
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

/// Every entry of the longest walk with rights of its own, from every privilege level.
fn paths(format: Format, size: Size, check: Check) -> Result<(), String> {
    const RIGHTS: [u64; 3] = [pte::RW, pte::US, pte::NX];
    let levels = format.top;
    let step = if size == Size::Full { 1 } else { 7 };
    for n in (0..1 << (3 * levels)).step_by(step) {
        for dirty in [0, pte::D] {
            let mut case = format.space(0);
            for level in 1..=levels {
                let own = spread(n >> (3 * (level - 1)), &RIGHTS);
                let marks = if level == 1 { pte::A | dirty } else { 0 };
                case.entries[level as usize] = format.entry(level, 1, own | marks);
            }
            for bits in controls() {
                for (context, access) in case::contexts(true) {
                    case.mode = format.bits | bits | context;
                    case.access = access;
                    check(&case)?;
                }
            }
        }
    }
    Ok(())
}

/// Another processor flips any one bit of an entry just before the walk marks it.
fn races(format: Format, _: Size, check: Check) -> Result<(), String> {
    for &leaf in format.leaves {
        for victim in leaf..=format.top {
            for bit in 0..if format.is_wide() { 64 } else { 32 } {
                let mut case = format.space(0);
                for level in leaf..=format.top {
                    case.entries[level as usize] = format.entry(level, leaf, BACKGROUNDS[0]);
                }
                case.race = Some((victim, 1 << bit));
                for bits in controls() {
                    for (context, access) in case::contexts(false) {
                        case.mode = format.bits | bits | context;
                        case.access = access;
                        check(&case)?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Linear addresses with any one bit flipped, and CR3 with bits besides the table's address. CR4.PGE never counts, and
/// CR4.PSE only with 4-byte entries.
fn addresses(format: Format, _: Size, check: Check) -> Result<(), String> {
    for &leaf in format.leaves {
        let mut case = format.space(Mode::WP);
        for level in leaf..=format.top {
            case.entries[level as usize] = format.entry(level, leaf, BACKGROUNDS[0]);
        }
        for bit in 0..64 {
            for low in [0, pte::PWT, pte::PCD, 0xfff] {
                for high in [0, 1 << 32, 0xffff << 48] {
                    case.gva = format.gva ^ 1 << bit;
                    case.cr3 = table(format.top) | low | if format.top == 4 { 0 } else { high };
                    for (context, access) in case::contexts(false) {
                        for bits in [0, Mode::PGE, Mode::PSE] {
                            case.mode = format.bits | bits | context;
                            case.access = access;
                            check(&case)?;
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

/// Latched PDPTEs with any one bit more.
fn directory_pointers(check: Check) -> Result<(), String> {
    for extra in (0..64).map(|bit| 1 << bit) {
        for width in [32, 36, 40, 52] {
            for number in 0..4 {
                let mut case = PAE.space(0);
                case.limits.width = width;
                for level in 1..=2 {
                    case.entries[level as usize] = PAE.entry(level, 1, BACKGROUNDS[0]);
                }
                case.pdptes[number] ^= extra;
                for (context, access) in case::contexts(false) {
                    for bits in [0, Mode::NXE] {
                        case.mode = PAE.bits | bits | context;
                        case.access = access;
                        check(&case)?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Paging off, real mode included, whatever the other control bits say and wherever CR3 points.
fn off(check: Check) -> Result<(), String> {
    const OTHERS: [u32; 8] = [
        Mode::PE,
        Mode::WP,
        Mode::PAE,
        Mode::PSE,
        Mode::PGE,
        Mode::SMEP,
        Mode::SMAP,
        Mode::NXE,
    ];
    for gva in [0, 0xf_ffff, 0x10_0000, 0x10_ffef, 0xffff_ffff, 1 << 32, !0] {
        for n in 0..256 {
            for (context, access) in case::contexts(true) {
                check(&Case {
                    mode: spread32(n, &OTHERS) | context,
                    gva,
                    access,
                    ..Case::default()
                })?;
            }
        }
    }
    Ok(())
}
