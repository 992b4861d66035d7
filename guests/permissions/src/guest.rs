//! The cases: every combination, and what each must leave behind.

mod format;
mod implicit;
mod rules;

use format::Format;
use guest_rt::cpu::{cr, is_walked_by_tcg, msr};
use guest_rt::dice::Dice;
use guest_rt::multiboot;
use guest_rt::tables::{A, D};
use guest_script::script::{Expect, Op, Report, Script};
use rules::{ACCESSES, Access, Controls, Entry, Outcome, judge};

guest_rt::entry!(main);

/// Steps of one case.
const STEPS: usize = 8;

fn main() {
    let mut report = Report::new("permissions");
    let mut script = Script::new();
    report.verbose = false;
    let rounds = 1 + u64::from(multiboot::has_word("again"));
    for format in format::all() {
        let before = report.checks;
        for round in 0..rounds {
            run(&format, &mut Dice::new(round), &mut script, &mut report);
        }
        guest_rt::println!(
            "permissions: {}: {} checks",
            format.name,
            report.checks - before
        );
    }
    implicit::run(&mut report);
    report.finish();
}

/// Every combination of rights in one format.
fn run(format: &Format, dice: &mut Dice, script: &mut Script, report: &mut Report) {
    let uppers = if format.levels() > 1 { 8 } else { 1 };
    for controls in Controls::possible() {
        enter(controls, script);
        for rights in 0..8 * uppers {
            for &access in ACCESSES {
                if access.lifts_smap() && !Controls::has_smap() {
                    continue;
                }
                if !script.has_room(STEPS) {
                    script.run(&format.space, format.name, report);
                    enter(controls, script);
                }
                one(format, controls, rights, access, dice, script);
            }
        }
        script.run(&format.space, format.name, report);
    }
}

/// The executors put the registers back at a script's end.
fn enter(controls: Controls, s: &mut Script) {
    let set = |on: bool, bit: u64| if on { (0, bit) } else { (bit, 0) };
    let (clear, bits) = set(controls.wp, cr::WP);
    s.step(Op::Cr0, clear, bits);
    let (clear, bits) = set(controls.nxe, msr::NXE);
    s.step(Op::Efer, clear, bits);
    let mut cr4 = 0;
    for (on, bit) in [(controls.smep, cr::SMEP), (controls.smap, cr::SMAP)] {
        cr4 |= set(on, bit).1;
    }
    if cr4 != 0 {
        s.step(Op::Cr4, 0, cr4);
    }
    s.reload_cr3();
}

fn one(
    format: &Format,
    controls: Controls,
    rights: u64,
    access: Access,
    dice: &mut Dice,
    s: &mut Script,
) {
    let leaf = Entry::dealt(rights & 7, dice);
    let upper = (format.levels() > 1).then(|| {
        let level = dice.below(format.levels() as usize - 1);
        (level, Entry::dealt(rights >> 3, dice))
    });
    let leaf_bits = format.leaf_bits(&leaf, dice);
    let mut path = [None; 2];
    let mut upper_bits = (0, 0);
    if let Some((level, entry)) = upper {
        let bits = format.upper_bits(level, &entry);
        format.write(s, level, bits);
        upper_bits = (level, bits);
        path[0] = Some(format.seen(bits));
    }
    let last = format.levels() as usize - 1;
    let address = format.address(access);
    format.write(s, last, leaf_bits);
    path[1] = Some(format.seen(leaf_bits));
    if dice.below(8) == 0 {
        s.reload_cr3();
    } else {
        // Any address of the page will do; but QEMU's own CPU forgets code by the address alone.
        let by_address = access.fetches() && is_walked_by_tcg();
        s.invlpg(if by_address { address } else { format.base });
    }
    let outcome = judge(path, controls, format.has_fetch_bit(controls), access);
    let value = dice.below(256) as u64;
    s.check(
        access.name(),
        access.op(),
        address,
        value,
        expected(outcome, address),
    );
    let touched = if outcome != Outcome::Done {
        0
    } else if access.writes() {
        A | D
    } else {
        A
    };
    // QEMU's own CPU marks the entry of a 1 GiB page before it looks at the rights.
    let free = if format.is_gib() && is_walked_by_tcg() && format.seen(leaf_bits).present {
        A
    } else {
        0
    };
    format.expect(s, "the leaf after it", last, leaf_bits | touched, free);
    if upper.is_some() {
        let (level, bits) = upper_bits;
        // An access that faults below an upper entry has used that entry, and may mark it: the manual asks for A when
        // a table is accessed and does not say whether a fault takes that back (APM vol. 2, 5.4.2), QEMU's walker marks
        // on its way down, and Umbra's engine marks nothing then, which its host tests insist on. An entry that is
        // itself malformed or absent is not used, and never marked.
        let (sure, free) = match outcome {
            Outcome::Done => (A, 0),
            _ if format.seen(bits).leads_on(controls) => (0, A),
            _ => (0, 0),
        };
        format.expect(s, "the upper entry after it", level, bits | sure, free);
        format.write(s, level, format.open_bits(level));
    }
}

fn expected(outcome: Outcome, address: u64) -> Expect {
    match outcome {
        Outcome::Done => Expect::Done,
        Outcome::Fault(error) => Expect::Fault(error, address),
        Outcome::Reserved(error) => Expect::Reserved(error, address),
    }
}
