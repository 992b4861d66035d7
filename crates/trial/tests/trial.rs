//! The short form of the trials: a run without a fault finds nothing, every deliberate fault is found, and a program that
//! fails gets short.

use oracle::{Finding, Holder, Moment};
use shadow::mutant::{self, Mutant};
use trial::{Complaint, Config, Hunt, Op, Options, Progress, Setup, hunt, replay, run, soak};

const SETUP: Setup = Setup {
    pages: 37,
    width: 40,
    gigabyte_pages: true,
};
const READ: Op = Op::Touch {
    gva: 0x1000,
    code: 0,
    ac: false,
    implicit: false,
    luck: 1,
};

/// A long-mode guest with one table a level, its roots at 4 MiB, and page 1 of its address space mapped.
fn long_guest() -> Vec<Op> {
    let store = |at, value| Op::Store { at, value };
    vec![
        store(0x40_0000, 0x40_1007),
        store(0x40_1000, 0x40_2007),
        store(0x40_2000, 0x40_3007),
        store(0x40_3008, 0x60_0007),
        Op::Cr4 {
            bits: exit_abi::Mode::PAE,
        },
        Op::Efer {
            nxe: true,
            lme: true,
        },
        Op::Cr3 { value: 0x40_0000 },
        Op::Cr0 { pg: true, wp: true },
    ]
}

fn with(rest: &[Op]) -> Vec<Op> {
    let mut ops = long_guest();
    ops.extend_from_slice(rest);
    ops
}

#[test]
fn a_million_steps_find_nothing() {
    for seed in 0..4 {
        match run(seed, 250_000, &Config::default()) {
            Ok(report) => {
                println!("seed {seed}: {report}");
                assert!(report.counters.fills > 20_000 && report.counters.evictions > 1000);
            }
            Err(failure) => panic!("seed {seed}: {failure}"),
        }
    }
}

#[test]
fn the_same_seed_leads_to_the_same_run() {
    let config = Config::default();
    let [one, other] = [(); 2].map(|()| run(7, 20_000, &config).map_err(|failure| failure.step));
    assert_eq!(one, other);
    assert_ne!(one, run(8, 20_000, &config).map_err(|failure| failure.step));
}

#[test]
fn a_failing_program_gets_short_and_still_fails() {
    mutant::set(Some(Mutant::NoFlushOnInvlpg));
    let config = Config::default();
    let failure = run(1, 1_000_000, &config).expect_err("the mutant is caught");
    let again = replay(&failure.setup, &config, &failure.ops);
    mutant::set(None);
    assert_eq!(again, Err((failure.ops.len(), failure.complaint.clone())));
    assert!(failure.ops.len() < 25, "{failure}");
    assert_eq!(replay(&failure.setup, &config, &failure.ops), Ok(()));
}

#[test]
fn a_stale_translation_is_the_guests_right_until_it_flushes() {
    let unmap = Op::Store {
        at: 0x40_3008,
        value: 0,
    };
    assert_eq!(
        replay(&SETUP, &Config::default(), &with(&[READ, unmap, READ])),
        Ok(())
    );

    mutant::set(Some(Mutant::NoClearOnInvlpg));
    let flush = Op::Invlpg { gva: 0x1fff };
    let found = replay(&SETUP, &Config::default(), &with(&[READ, unmap, flush]));
    mutant::set(None);
    let Err((step, Complaint::Finding(finding))) = found else {
        panic!("{found:?}");
    };
    assert_eq!(step, long_guest().len() + 3);
    assert!(matches!(
        finding,
        Finding::NotGranted {
            moment: Moment::Invlpg,
            holder: Holder::Shadow,
            ..
        }
    ));
    assert_eq!(
        finding.to_string(),
        "shadow not granted after INVLPG: gva 0x1000 to gpa 0x600000, 4 KiB, r-xu; at 0x1000 the guest grants no \
         user read, user fetch, supervisor read, supervisor fetch, supervisor with AC read, supervisor with AC fetch, \
         implicit read"
    );
}

#[test]
fn a_hunt_without_its_quarry_says_so() {
    let short = Hunt {
        seed: 1,
        seeds: 1,
        steps: 1,
        ..Hunt::default()
    };
    let caught = hunt(Mutant::NoFlushOnMerge, &short);
    assert_eq!(caught.by, None);
    assert!(caught.to_string().contains("NOT CAUGHT in 1 steps"));
}

#[test]
fn a_soak_reports_runs_and_mutants() {
    let options = Options {
        seed: 1,
        runs: 2,
        steps: 5000,
        ..Options::default()
    };
    let (mut runs, mut hunted) = (0, 0);
    let report = soak(&options, |progress| match progress {
        Progress::Run { .. } => runs += 1,
        Progress::Mutant(_) => hunted += 1,
    });
    assert!(report.is_good(), "{report}");
    assert_eq!((runs, hunted), (2, Mutant::ALL.len()));
    assert_eq!(report.total.steps, 10_000);
}
