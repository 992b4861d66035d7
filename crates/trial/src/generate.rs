//! The random guest: tables of every format in a few shared frames, edits on the way of addresses it used lately, flushes
//! that sometimes fit and sometimes do not.

use crate::dice::Dice;
use crate::op::Op;
use crate::ram::{TABLE_FRAMES, TABLES};
use crate::world::{Registers, World};
use exit_abi::Mode;
use naive_walk::Limits;
use std::collections::VecDeque;
use words::Gva;

/// Indices of the entries in use, in tables of 512 and of 1024.
const WIDE: [u64; 5] = [0, 1, 2, 256, 511];
const NARROW: [u64; 6] = [0, 1, 2, 512, 513, 1023];
/// Frames that leaves lead to: low memory, the edges of the hole, 2 MiB frames, the end of memory and beyond it.
const FRAMES: [u64; 16] = [
    0, 1, 2, 0x1ff, 0x200, 0x201, 0x2ff, 0x300, 0x600, 0x601, 0x7ff, 0x800, 0xa01, 0xc00, 0xfff,
    0x1000,
];
/// Starts of large pages: memory, with the hole inside, the tables themselves, the end, beyond.
const LARGE: [u64; 6] = [0, 0x200, 0x400, 0x600, 0xe00, 0x1000];
/// Frames that come and go.
const PLUGGED: [u64; 4] = [0x201, 0x300, 0x650, 0x900];
/// Addresses remembered.
const RECENT: usize = 12;

const P: u64 = 1;
const RW: u64 = 1 << 1;
const US: u64 = 1 << 2;
const PS: u64 = 1 << 7;
const NX: u64 = 1 << 63;
const TOGGLED: [u64; 8] = [P, RW, US, 1 << 5, 1 << 6, PS, 1 << 8, NX];
/// Bits that are reserved here or there.
const RESERVED: [u64; 9] = [7, 13, 21, 38, 45, 51, 52, 58, 62];

/// The formats of tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    Off,
    Narrow,
    Pae,
    Long,
}

impl Format {
    const fn of(mode: Mode) -> Self {
        if !mode.has(Mode::PG) {
            Self::Off
        } else if mode.has(Mode::LMA) {
            Self::Long
        } else if mode.has(Mode::PAE) {
            Self::Pae
        } else {
            Self::Narrow
        }
    }
}

/// Makes up one step after the other.
#[derive(Debug)]
pub struct Generator {
    dice: Dice,
    planned: VecDeque<Op>,
    recent: Vec<u64>,
    /// Whether what drops the whole shadow is rare.
    calm: bool,
}

impl Generator {
    /// From a seed. The guest begins with its tables.
    pub fn new(seed: u64) -> Self {
        let mut generator = Self {
            dice: Dice::new(seed),
            planned: VecDeque::new(),
            recent: Vec::new(),
            calm: false,
        };
        generator.calm = !generator.dice.one_in(3);
        let home = generator
            .dice
            .pick(&[Format::Narrow, Format::Pae, Format::Long, Format::Long]);
        for frame in 0..TABLE_FRAMES {
            let format = if generator.dice.one_in(6) {
                generator
                    .dice
                    .pick(&[Format::Narrow, Format::Pae, Format::Long])
            } else {
                home
            };
            generator.build(format, TABLES + (frame << 12));
        }
        generator.enter(home);
        generator
    }

    /// The next step.
    pub fn next(&mut self, world: &World<'_>) -> Op {
        loop {
            if let Some(op) = self.planned.pop_front() {
                return op;
            }
            self.plan(world);
        }
    }

    fn plan(&mut self, world: &World<'_>) {
        let what = self.dice.below(100);
        if what >= 83 && self.calm && !self.dice.one_in(8) {
            return self.touch(world);
        }
        match what {
            0..=40 => self.touch(world),
            41..=43 => self.poke(world),
            44..=45 => self.together(world),
            46 => self.gate(world),
            47..=68 => self.edit(world),
            69..=70 => self.store_anywhere(world),
            71..=72 => self.translate(world),
            73..=75 => self.speculate(world),
            76..=82 => {
                let gva = self.address(world);
                self.planned.push_back(Op::Invlpg { gva });
            }
            83..=88 => self.load_cr3(world),
            89..=93 => self.toggle(world),
            94 => self.switch(),
            _ => self.trouble(world),
        }
    }

    fn luck(&mut self) -> u32 {
        self.dice.next() as u32
    }

    fn index(&mut self, format: Format) -> u64 {
        if format == Format::Narrow {
            self.dice.pick(&NARROW)
        } else {
            self.dice.pick(&WIDE)
        }
    }

    /// An address: mostly one used lately or near it.
    fn address(&mut self, world: &World<'_>) -> u64 {
        let format = Format::of(world.registers().mode());
        let near = self
            .dice
            .pick(&[0, 0, 0, 0x1000, 0x20_0000, 0x1f_f000, 0x3f_f000]);
        if !self.recent.is_empty() && !self.dice.one_in(3) {
            return self.dice.pick(&self.recent.clone()) ^ near;
        }
        let index = |generator: &mut Self, shift: u32| generator.index(format) << shift;
        let gva = match format {
            Format::Off => self.dice.pick(&FRAMES) << 12,
            Format::Narrow => index(self, 22) | index(self, 12),
            Format::Pae => self.dice.below(4) << 30 | index(self, 21) | index(self, 12),
            Format::Long => {
                let gva = self.dice.pick(&[0, 511_u64]) << 39
                    | index(self, 30)
                    | index(self, 21)
                    | index(self, 12);
                if gva >> 47 == 0 {
                    gva
                } else {
                    gva | 0xffff << 48
                }
            }
        };
        let gva = if self.dice.one_in(200) {
            gva ^ 1 << 60
        } else {
            gva
        };
        if self.recent.len() < RECENT {
            self.recent.push(gva);
        } else {
            let victim = self.dice.below(RECENT as u64) as usize;
            self.recent[victim] = gva;
        }
        gva
    }

    fn touch(&mut self, world: &World<'_>) {
        let gva = self.address(world);
        self.touch_at(gva);
    }

    fn touch_at(&mut self, gva: u64) {
        let what = self.dice.pick(&[0, 0, 2, 2, 2, 16]);
        let user = if self.dice.one_in(2) { 4 } else { 0 };
        let gva = gva | self.dice.pick(&[0, 8, 0xff8]);
        let op = Op::Touch {
            gva,
            code: what | user,
            ac: self.dice.one_in(3),
            implicit: user == 0 && what != 16 && self.dice.one_in(8),
            luck: self.luck(),
        };
        self.planned.push_back(op);
    }

    fn poke(&mut self, world: &World<'_>) {
        let gva = self.address(world) & !0xfff | self.dice.pick(&WIDE) << 3;
        let value = self.entry(Format::of(world.registers().mode()), 1);
        let luck = self.luck();
        self.planned.push_back(Op::Poke { gva, value, luck });
    }

    fn together(&mut self, world: &World<'_>) {
        let gvas = [0; 4].map(|_: u64| self.address(world));
        let luck = self.luck();
        self.planned.push_back(Op::Together { gvas, luck });
    }

    /// Mostly two parts of what may be one large page.
    fn gate(&mut self, world: &World<'_>) {
        let gva = self.address(world);
        let implicit = if self.dice.one_in(4) {
            self.address(world)
        } else {
            gva ^ self.dice.below(512) << 12
        };
        if self.dice.one_in(2) {
            self.share_read_only(world, gva);
        }
        let luck = self.luck();
        self.planned.push_back(Op::Gate {
            gva,
            implicit,
            luck,
        });
    }

    /// Makes the page a read-only one of the user's in a guest that lets its kernel write there: without CR0.WP and SMAP.
    fn share_read_only(&mut self, world: &World<'_>, gva: u64) {
        let registers = *world.registers();
        self.planned.push_back(Op::Cr0 {
            pg: registers.pg,
            wp: false,
        });
        self.planned.push_back(Op::Cr4 {
            bits: registers.cr4 & !Mode::SMAP,
        });
        if let Some((at, bytes, old, _)) = self.victim(world, &registers, gva) {
            let format = Format::of(registers.mode());
            self.store(format, at, bytes, old & !RW | US);
            self.planned.push_back(Op::Invlpg { gva });
        }
    }

    fn translate(&mut self, world: &World<'_>) {
        let high = if self.dice.one_in(4) { 1 << 40 } else { 0 };
        let op = Op::Translate {
            gva: self.address(world) | high,
            code: self.dice.pick(&[0, 2, 4, 6, 16]),
            ac: self.dice.one_in(2),
        };
        self.planned.push_back(op);
    }

    fn speculate(&mut self, world: &World<'_>) {
        let gva = self.address(world);
        let luck = self.luck();
        self.planned.push_back(Op::Speculate { gva, luck });
    }

    /// Changes an entry on the way of an address, flushes as a guest should or not, and uses the address again.
    fn edit(&mut self, world: &World<'_>) {
        let gva = self.address(world);
        let registers = *world.registers();
        let format = Format::of(registers.mode());
        if format == Format::Pae && self.dice.one_in(6) {
            return self.edit_pdpte(world, gva);
        }
        let Some((at, bytes, old, level)) = self.victim(world, &registers, gva) else {
            return self.repair(format, registers.cr3, gva);
        };
        let value = match self.dice.below(9) {
            0..=2 => self.entry(format, level),
            3 => old ^ self.dice.pick(&TOGGLED) ^ self.dice.pick(&TOGGLED),
            4 => old ^ 1 << self.dice.pick(&RESERVED),
            _ => old ^ self.dice.pick(&TOGGLED),
        };
        if self.dice.one_in(3) {
            self.touch_at(gva);
        }
        self.store(format, at, bytes, value);
        self.flush_and_use(&registers, gva, bytes, level);
        if self.dice.one_in(4) {
            self.store(format, at, bytes, old);
            self.flush_and_use(&registers, gva, bytes, level);
        }
    }

    /// After an entry on the way of `gva` was changed.
    fn flush_and_use(&mut self, registers: &Registers, gva: u64, bytes: u32, level: u32) {
        match self.dice.below(8) {
            0..=3 => {
                let inside = self
                    .dice
                    .pick(&[0, 0, 0x1000, 0x10_3000, 0x20_0000, 0x1234_5000]);
                let mask = match level {
                    1 => 0xfff,
                    2 if bytes == 4 => 0x3f_ffff,
                    2 => 0x1f_ffff,
                    _ => 0x3fff_ffff,
                };
                let gva = gva & !mask | (gva ^ inside) & mask;
                self.planned.push_back(Op::Invlpg { gva });
            }
            4 => self.planned.push_back(Op::Cr3 {
                value: registers.cr3,
            }),
            _ => {}
        }
        if !self.dice.one_in(4) {
            let near = self.dice.pick(&[0, 0, 0, 0x1000, 0x20_0000, 0x3f_f000]);
            self.touch_at(gva ^ near);
        }
    }

    /// Changes a PDPTE, which means nothing until the processor reads it, then does what makes it read it or not.
    fn edit_pdpte(&mut self, world: &World<'_>, gva: u64) {
        let registers = *world.registers();
        let at = (registers.cr3 & 0xffff_ffe0) + 8 * (gva >> 30 & 3);
        let value = match self.dice.below(6) {
            0 => 0,
            1 => self.table() | P | 1 << self.dice.pick(&[1, 2, 5, 8, 52, 63]),
            _ => self.table() | P,
        };
        self.planned.push_back(Op::Store { at, value });
        match self.dice.below(3) {
            0 => self.toggle(world),
            1 => self.load_cr3(world),
            _ => {}
        }
        self.touch_at(gva);
    }

    /// Writes entries on the way of an address that leads nowhere, and uses it.
    fn repair(&mut self, format: Format, cr3: u64, gva: u64) {
        let (mut table, shifts, bytes): (u64, &[u32], u64) = match format {
            Format::Off => return self.touch_at(gva),
            Format::Narrow => (cr3 & 0xffff_f000, &[22, 12], 4),
            Format::Pae => (self.table(), &[21, 12], 8),
            Format::Long => (cr3 & 0xf_ffff_ffff_f000, &[39, 30, 21, 12], 8),
        };
        if format == Format::Pae {
            let at = (cr3 & 0xffff_ffe0) + 8 * (gva >> 30 & 3);
            self.planned.push_back(Op::Store {
                at,
                value: table | P,
            });
            self.planned.push_back(Op::Cr3 { value: cr3 });
        }
        let mask = if format == Format::Narrow { 1023 } else { 511 };
        for (nth, shift) in shifts.iter().enumerate() {
            let level = (shifts.len() - nth) as u32;
            let at = table + bytes * (gva >> shift & mask);
            let value = if level == 1 || self.dice.one_in(6) {
                self.entry(format, level)
            } else {
                self.table() | 7 | self.dice.pick(&[0, 0x20])
            };
            self.store(format, at, bytes as u32, value);
            table = value & 0xf_ffff_f000;
        }
        self.touch_at(gva);
    }

    /// An entry on the way of `gva`: its place, size, value, and the level of its table.
    fn victim(
        &mut self,
        world: &World<'_>,
        registers: &Registers,
        gva: u64,
    ) -> Option<(u64, u32, u64, u32)> {
        let ram = world.ram();
        let read = |at: words::Gpa, bytes: u32| {
            if bytes == 4 {
                ram.get32(at.bits()).map(u64::from)
            } else {
                ram.get64(at.bits())
            }
        };
        let limits = Limits {
            width: 52,
            gigabyte_pages: true,
        };
        let (mode, gva) = (registers.mode(), Gva::new(gva));
        let grant = naive_walk::translate(read, mode, registers.cr3, None, limits, gva).ok()?;
        let entries: Vec<_> = grant.path().collect();
        let count = entries.len() as u64;
        if count == 0 {
            return None;
        }
        // The leaf twice as often as what stands above it.
        let nth = self.dice.below(count + 2).min(count - 1) as usize;
        let entry = entries[nth];
        let top = match Format::of(mode) {
            Format::Long => 4,
            _ => 2,
        };
        Some((entry.at.bits(), entry.bytes, entry.value, top - nth as u32))
    }

    fn store(&mut self, format: Format, at: u64, bytes: u32, value: u64) {
        self.planned
            .push_back(if format == Format::Narrow || bytes == 4 {
                Op::Store32 {
                    at,
                    value: value as u32,
                }
            } else {
                Op::Store { at, value }
            });
    }

    fn store_anywhere(&mut self, world: &World<'_>) {
        let format = Format::of(world.registers().mode());
        let table = self.table();
        let level = self.dice.below(4) as u32 + 1;
        let value = self.entry(format, level);
        let at = self.place(format, table);
        self.store(format, at, 8, value);
    }

    fn place(&mut self, format: Format, table: u64) -> u64 {
        let bytes = if format == Format::Narrow { 4 } else { 8 };
        table + bytes * self.index(format)
    }

    fn table(&mut self) -> u64 {
        TABLES + (self.dice.below(TABLE_FRAMES) << 12)
    }

    /// Fills a table with entries for no level in particular.
    fn build(&mut self, format: Format, table: u64) {
        let level = self.dice.below(4) as u32 + 1;
        let bytes = if format == Format::Narrow { 4 } else { 8 };
        let indices: &[u64] = if format == Format::Narrow {
            &NARROW
        } else {
            &WIDE
        };
        for index in indices {
            let value = self.entry(format, level);
            self.store(format, table + bytes * index, bytes as u32, value);
        }
        if format == Format::Pae {
            // It may serve as a table of PDPTEs too.
            for slot in 0..4 {
                let value = self.table() | P;
                if self.dice.one_in(3) {
                    self.store(format, table + 8 * slot, 8, value);
                }
            }
        }
    }

    /// An entry as a guest might write it in a table of `level`.
    fn entry(&mut self, format: Format, level: u32) -> u64 {
        let dice = &mut self.dice;
        // U/S, R/W, A, D, G by chance, mostly generous.
        let mut flags = P | dice.next() & 0x166;
        if !dice.one_in(3) {
            flags |= 0x26;
        }
        if dice.one_in(10) {
            flags &= !P;
        }
        if format != Format::Narrow && dice.one_in(6) {
            flags |= NX;
        }
        if dice.one_in(40) {
            flags |= 1 << dice.pick(&RESERVED);
        }
        if format == Format::Narrow {
            flags &= 0xffff_ffff;
        }
        let large = (2..=3).contains(&level) && dice.one_in(3);
        let frame = if large {
            flags |= PS;
            match (level, dice.below(5)) {
                (3, 0..=3) => 0,
                (3, _) => 1 << 18,
                (_, 0) if format == Format::Narrow => 0x400,
                _ => dice.pick(&LARGE),
            }
        } else if level > 1 || dice.one_in(4) {
            return flags | self.table();
        } else {
            dice.pick(&FRAMES)
        };
        flags | frame << 12
    }

    fn load_cr3(&mut self, world: &World<'_>) {
        let value = match self.dice.below(8) {
            0..=3 => world.registers().cr3,
            4..=5 => self.table() | self.dice.pick(&[0, 0, 0x20, 0x18]),
            6 => TABLES,
            _ => self.dice.pick(&[
                0x30_0000,
                0x1000_0000,
                1 << 36,
                1 << 45,
                1 << 52,
                0x40_0000 | 1 << 32,
            ]),
        };
        if self.dice.one_in(6) {
            self.planned.push_back(Op::Lose);
        }
        self.planned.push_back(Op::Cr3 { value });
    }

    /// One control bit changes.
    fn toggle(&mut self, world: &World<'_>) {
        let now = *world.registers();
        let op = match self.dice.below(9) {
            0 => Op::Cr0 {
                pg: !now.pg,
                wp: now.wp,
            },
            1 | 2 => Op::Cr0 {
                pg: now.pg,
                wp: !now.wp,
            },
            3 => Op::Efer {
                nxe: !now.nxe,
                lme: now.lme,
            },
            4 => Op::Cr4 { bits: now.cr4 },
            _ => Op::Cr4 {
                bits: now.cr4
                    ^ self.dice.pick(&[
                        Mode::PSE,
                        Mode::PGE,
                        Mode::SMEP,
                        Mode::SMAP,
                        Mode::PAE,
                        Mode::PSE,
                    ]),
            },
        };
        // Often to compare before and after.
        let gva = self.address(world);
        if self.dice.one_in(2) {
            self.touch_at(gva);
        }
        if self.dice.one_in(6) {
            self.planned.push_back(Op::Lose);
        }
        self.planned.push_back(op);
        self.touch_at(gva);
    }

    /// Another paging mode, by the way that the manual prescribes.
    fn switch(&mut self) {
        let to = self
            .dice
            .pick(&[Format::Off, Format::Narrow, Format::Pae, Format::Long]);
        self.enter(to);
    }

    fn enter(&mut self, format: Format) {
        let wp = !self.dice.one_in(3);
        let nxe = !self.dice.one_in(3);
        self.planned.push_back(Op::Cr0 { pg: false, wp });
        if format == Format::Off {
            return;
        }
        self.recent.clear();
        let mut cr4 = self.dice.next() as u32 & (Mode::PSE | Mode::PGE | Mode::SMEP);
        if self.dice.one_in(3) {
            cr4 |= Mode::SMAP;
        }
        if format != Format::Narrow {
            cr4 |= Mode::PAE;
        }
        self.planned.push_back(Op::Efer {
            nxe,
            lme: format == Format::Long,
        });
        self.planned.push_back(Op::Cr4 { bits: cr4 });
        let value = self.table();
        self.planned.push_back(Op::Cr3 { value });
        self.planned.push_back(Op::Cr0 { pg: true, wp });
    }

    /// What the kernel and other processors may do at any time.
    fn trouble(&mut self, world: &World<'_>) {
        let operations = self.dice.below(12) as u32;
        let op = match self.dice.below(8) {
            0 => Op::EnsureRoot,
            1 => Op::Revoke,
            2 | 3 => Op::StaleAfter { operations },
            4 => Op::RefuseAfter { operations },
            5 | 6 => Op::Contend {
                exchanges: self.dice.pick(&[1, 2, 3, 17, 40]),
            },
            _ => Op::Plug {
                frame: self.dice.pick(&PLUGGED),
                there: self.dice.one_in(2),
            },
        };
        self.planned.push_back(op);
        self.touch(world);
    }
}
