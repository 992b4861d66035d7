//! Random walks: entries change with an INVLPG or a CR3 load, accesses of every kind follow, and a model of two dozen
//! lines says what must come of it.
//!
//! Always: the same seeds give the same scripts, on every machine.

use guest_rt::dice::Dice;
use guest_rt::tables::{A, D, NX, P, U, W, frame};
use guest_rt::user::{BACK, RET};

use super::both::Group;
use guest_script::script::Expect::{Done, Fault, Value};
use guest_script::script::{Op, Script};
use guest_script::space::{Region, Space, fill, put_code};

/// Four walks with seeds of their own.
pub const GROUPS: &[(&str, Group)] = &[
    ("random walk 1", |space, s| walk(space, s, 1)),
    ("random walk 2", |space, s| walk(space, s, 2)),
    ("random walk 3", |space, s| walk(space, s, 3)),
    ("random walk 4", |space, s| walk(space, s, 4)),
];

const PAGES: usize = 6;
const FRAMES: usize = 3;
/// Steps of the script that one walk fills.
const STEPS: usize = 500;
/// The byte in a frame that the walk reads and writes.
const SPOT: u64 = 0x900;

struct Model {
    region: Region,
    frames: [u64; FRAMES],
    /// The byte at `SPOT` of each frame.
    contents: [u8; FRAMES],
    /// Entries as they stand in the table, and which frame each names.
    entries: [(u64, usize); PAGES],
}

fn walk(space: &mut Space, s: &mut Script, seed: u64) {
    let frames = [frame(), frame(), frame()];
    for (i, &frame) in frames.iter().enumerate() {
        put_code(frame);
        fill(frame + SPOT, 8, i as u8);
    }
    let mut model = Model {
        region: space.region(),
        frames,
        contents: [0, 1, 2],
        entries: [(0, 0); PAGES],
    };
    let mut dice = Dice::new(seed);
    let mut steps = 0;
    while steps + 4 < STEPS {
        steps += if dice.below(3) == 0 {
            model.change(&mut dice, s)
        } else {
            model.access(&mut dice, s)
        };
    }
}

impl Model {
    /// Gives one page a new entry and flushes the old one; the number of steps.
    fn change(&mut self, dice: &mut Dice, s: &mut Script) -> usize {
        let (page, frame) = (dice.below(PAGES), dice.below(FRAMES));
        // Present three times out of four: more happens then.
        let present = dice.some_of(P) | dice.some_of(P);
        let entry = self.frames[frame] | present | dice.some_of(W | U | NX | A | D);
        s.store(self.region.pte(page as u64), entry);
        match dice.below(4) {
            0 => s.reload_cr3(),
            _ => s.invlpg(self.region.page(page as u64)),
        }
        self.entries[page] = (entry, frame);
        2
    }

    /// Does one access and looks at the entry after it; the number of steps.
    fn access(&mut self, dice: &mut Dice, s: &mut Script) -> usize {
        const OPS: [Op; 6] = [
            Op::Read8,
            Op::Write8,
            Op::Execute,
            Op::UserRead,
            Op::UserWrite,
            Op::UserExecute,
        ];
        let (page, op, value) = (
            dice.below(PAGES),
            OPS[dice.below(OPS.len())],
            dice.roll() as u8,
        );
        let offset = match op {
            Op::Execute => RET,
            Op::UserExecute => BACK,
            _ => SPOT,
        };
        let address = self.region.page(page as u64) + offset;
        let (entry, frame) = &mut self.entries[page];
        let expected = match refusal(*entry, op) {
            Some(error) => Fault(error, address),
            None => {
                *entry |= A;
                match op {
                    Op::Read8 | Op::UserRead => Value(self.contents[*frame].into()),
                    Op::Write8 | Op::UserWrite => {
                        *entry |= D;
                        self.contents[*frame] = value;
                        Done
                    }
                    _ => Done,
                }
            }
        };
        s.check("access", op, address, value.into(), expected);
        s.entry("entry after it", self.region.pte(page as u64), *entry);
        2
    }
}

/// The error code with which `entry` refuses `op`, under WP and NXE (APM vol. 2, 5.6 and 8.4.2).
fn refusal(entry: u64, op: Op) -> Option<u64> {
    let write = matches!(op, Op::Write8 | Op::UserWrite);
    let user = matches!(op, Op::UserRead | Op::UserWrite | Op::UserExecute);
    let fetch = matches!(op, Op::Execute | Op::UserExecute);
    let kind = u64::from(write) << 1 | u64::from(user) << 2 | u64::from(fetch) << 4;
    if entry & P == 0 {
        return Some(kind);
    }
    let refused =
        (write && entry & W == 0) || (user && entry & U == 0) || (fetch && entry & NX != 0);
    refused.then_some(kind | P)
}
