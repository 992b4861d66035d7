//! The tour through the modes: plans it, lets the conductor go, and compares what was seen with a model of two counters.
#![allow(unsafe_code)] // one static, used once

use core::ptr::addr_of_mut;

use guest_rt::cpu::{cpuid, cr, is_bare_tcg, msr};
use guest_rt::dice::Dice;
use guest_rt::println;
use guest_rt::tables::{load, store};
use guest_script::script::Report;

use super::choice::{Choice, FOUR_LEVEL};
use super::places::{self, FRAMES, Place};
use super::switch::{
    DIRECT, EARLY, Kind, NO_TRAP, REAL_ANSWER, Seen, Step, Tables, enter_from_long_code,
    install_real_mode, travel,
};

/// Stations of one journey.
const STATIONS: usize = 128;
/// Journeys dealt by the die.
const JOURNEYS: u64 = 4;
/// EFER.LMA.
const LMA: u64 = 1 << 10;
/// A page fault's vector, as it is noted.
const PF: u32 = 14 << 16;
/// A general-protection fault's.
const GP: u32 = 13 << 16;
/// An undefined instruction's.
const UD: u32 = 6 << 16;

static mut TABLES: Tables = Tables::new();

/// What the conductor should find.
struct Model {
    counters: [u32; 2],
    /// Which frame each place's window shows.
    shown: [usize; 10],
}

/// Every pair of modes once, then at random; or every switch into and out of the modes that were chosen.
pub fn run(choice: &Choice, report: &mut Report) {
    // SAFETY: the only use, and `run` is called once; from here on the CPU alone reads them.
    let tables = unsafe { &mut *addr_of_mut!(TABLES) };
    tables.fill();
    install_real_mode();
    let places = places::all(tables);
    FRAMES.iter().for_each(|&frame| store(frame, 0));
    let mut model = Model {
        counters: [0; 2],
        shown: [0; 10],
    };
    let mut dice = Dice::new(3);
    // Every ordered pair once; what lies between two of them is one more switch.
    let count = places.len();
    let among = |a: usize, b: usize| choice.takes(places[a].words) || choice.takes(places[b].words);
    let pairs = (0..count)
        .flat_map(|a| (0..count).map(move |b| (a, b)))
        .filter(|&(a, b)| among(a, b))
        .flat_map(|(a, b)| [a, b]);
    let mut route = [0; STATIONS];
    let mut length = 0;
    let mut switches = 0;
    for station in pairs {
        route[length] = station;
        length += 1;
        if length == STATIONS {
            switches += journey(&places, &route, &mut model, &mut dice, report);
            length = 0;
        }
    }
    switches += journey(&places, &route[..length], &mut model, &mut dice, report);
    let journeys = if choice.is_all() { JOURNEYS } else { 0 };
    for _ in 0..journeys {
        route
            .iter_mut()
            .for_each(|station| *station = dice.below(count));
        switches += journey(&places, &route, &mut model, &mut dice, report);
    }
    println!("modes: {switches} switches between {count} modes");
    // QEMU's own CPU does not refuse (APM vol. 2, 14.6.2: CS.L must be 0).
    if !is_bare_tcg() && choice.takes(&[FOUR_LEVEL]) {
        let long = &places[count - 1].mode;
        let [trap, cr0] = enter_from_long_code(tables, u64::from(long.cr3));
        report.holds("long mode from code with L: #GP(0)", trap == GP);
        report.holds("and paging stays off", u64::from(cr0) & cr::PG == 0);
    }
}

/// One journey; the number of its stations.
fn journey(
    places: &[Place; 10],
    route: &[usize],
    model: &mut Model,
    dice: &mut Dice,
    report: &mut Report,
) -> usize {
    let mut steps = [Step {
        mode: 0,
        edit: 0,
        value: 0,
        flags: 0,
    }; STATIONS];
    let mut frames = [0; STATIONS];
    let mut before = None;
    for (i, &station) in route.iter().enumerate() {
        let place = &places[station];
        steps[i].mode = (&raw const place.mode) as u32;
        if place.leaf != 0 && dice.below(2) == 0 {
            model.shown[station] ^= 1;
            steps[i].edit = place.leaf as u32;
            steps[i].value = (FRAMES[model.shown[station]] | place.bits) as u32;
        }
        if let Some(before) = before {
            steps[i].flags = way(before, place, dice);
        }
        frames[i] = model.shown[station];
        before = Some(place);
    }
    let mut seen = [Seen::default(); STATIONS];
    travel(&steps[..route.len()], &mut seen[..route.len()]);
    for (i, &station) in route.iter().enumerate() {
        model.counters[frames[i]] += 1;
        check(
            &places[station],
            model.counters[frames[i]],
            &seen[i],
            report,
        );
    }
    for (frame, counter) in FRAMES.into_iter().zip(model.counters) {
        report.holds("the counter in memory", load(frame) as u32 == counter);
    }
    route.len()
}

/// How to go from one mode to the next: the registers say whether paging may stay on.
fn way(from: &Place, to: &Place, dice: &mut Dice) -> u32 {
    let (a, b) = (&from.mode, &to.mode);
    let paging = |cr0: u32| u64::from(cr0) & cr::PG != 0;
    let direct = paging(a.cr0)
        && a.cr0 == b.cr0
        && a.efer == b.efer
        && (a.cr4 ^ b.cr4) & cr::PAE as u32 == 0
        && dice.below(2) == 0;
    if direct {
        DIRECT
    } else if from.mode.kind != Kind::Real && dice.below(2) == 0 {
        EARLY
    } else {
        0
    }
}

fn check(place: &Place, counter: u32, seen: &Seen, report: &mut Report) {
    let mode = &place.mode;
    let mut is = |what: &str, got: u64, expected: u64| {
        report.holds(what, got == expected);
        if got != expected {
            println!("modes: {}: {what}: {got:#x}, not {expected:#x}", place.name);
        }
    };
    is("counter", seen.counter.into(), counter.into());
    let cr0 = u64::from(seen.controls[0]);
    if mode.kind == Kind::Real {
        is("PE and PG", cr0 & (cr::PE | cr::PG), 0);
        is("INT 60h", seen.absent.into(), REAL_ANSWER.into());
        is("#UD and #DE", seen.undefined.into(), 0x106);
        is("CPUID", seen.absent_cr2, cpuid(0, 0).ebx.into());
        return;
    }
    is("CR0", cr0, mode.cr0.into());
    is("#UD", seen.undefined.into(), UD.into());
    is("CR4", seen.controls[1].into(), mode.cr4.into());
    let active = if mode.efer as u64 & msr::LME != 0 {
        LMA
    } else {
        0
    };
    is("EFER", seen.efer, u64::from(mode.efer) | active);
    if mode.kind == Kind::Flat {
        return;
    }
    is("read of nothing", seen.absent.into(), PF.into());
    is("its CR2", seen.absent_cr2, mode.absent);
    if u64::from(mode.cr0) & cr::WP == 0 {
        is("refused write", seen.read_only.into(), NO_TRAP.into());
    } else {
        is("refused write", seen.read_only.into(), (PF | 3).into());
        is("its CR2", seen.read_only_cr2, mode.read_only);
    }
}
