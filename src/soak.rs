//! `umbra soak`: random guests against the shadow MMU and its oracle, on the host and at length; then every deliberate fault.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use trial::{Config, Options, Progress, SoakReport};

use crate::cli::SoakArgs;
use crate::error::{FINDING, Failure};

/// Runs, saying what is done, and answers the exit status.
pub fn soak(args: &SoakArgs) -> Result<u8, Failure> {
    let mut lost = None;
    let mut show = |progress: Progress<'_>| {
        let shown = show(&progress);
        lost = lost.take().or(shown.err());
    };
    let options = Options {
        seed: args.seed,
        steps: args.steps,
        runs: if args.minutes.is_some() { 0 } else { args.runs },
        ..Options::default()
    };
    let start = Instant::now();
    let mut report = trial::soak(&options, &mut show);
    if let Some(minutes) = args.minutes {
        let end = start + Duration::from_secs(60 * minutes);
        until(end, &options, &mut report, &mut show);
    }
    if let Some(error) = lost {
        return Err(Failure::Machine(format!("nobody reads this: {error}")));
    }
    println!("{report}took {} seconds", start.elapsed().as_secs());
    Ok(if report.is_good() { 0 } else { FINDING })
}

fn show(progress: &Progress<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{progress}")?;
    out.flush()
}

/// One run after the other, at least one, until the time is over.
fn until(
    end: Instant,
    options: &Options,
    report: &mut SoakReport,
    show: &mut impl FnMut(Progress<'_>),
) {
    for seed in options.seed.. {
        let result = trial::run(seed, options.steps, &Config::default());
        show(Progress::Run {
            seed,
            result: &result,
        });
        match result {
            Ok(done) => report.total.add(&done),
            Err(failure) => report.failures.push((seed, failure)),
        }
        if Instant::now() >= end {
            return;
        }
    }
}
