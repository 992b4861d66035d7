//! The long version: many seeds, then every mutant.

use crate::failure::Failure;
use crate::mutants::{Caught, Hunt, hunt};
use crate::run::{Config, Report, run};
use shadow::mutant::Mutant;
use std::fmt;

/// How long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// First seed.
    pub seed: u64,
    /// Runs of the engine as it is.
    pub runs: u64,
    /// Steps a run.
    pub steps: u64,
    /// How far each mutant is hunted.
    pub hunt: Hunt,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1000,
            runs: 100,
            steps: 1_000_000,
            hunt: Hunt {
                seed: 1,
                seeds: 10,
                steps: 1_000_000,
                ..Hunt::default()
            },
        }
    }
}

/// Something was done.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// A run of the engine as it is.
    Run {
        /// Its seed.
        seed: u64,
        /// What it came to.
        result: &'a Result<Report, Failure>,
    },
    /// A mutant was hunted.
    Mutant(&'a Caught),
}

impl fmt::Display for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run {
                seed,
                result: Ok(report),
            } => write!(f, "seed {seed}: {report}"),
            Self::Run {
                seed,
                result: Err(failure),
            } => write!(f, "seed {seed}: {failure}"),
            Self::Mutant(caught) => write!(f, "mutant {caught}"),
        }
    }
}

/// What a soak came to.
#[derive(Clone, Debug, Default)]
pub struct SoakReport {
    /// All runs together, without those that failed.
    pub total: Report,
    /// What failed, with seeds.
    pub failures: Vec<(u64, Failure)>,
    /// Every mutant.
    pub mutants: Vec<Caught>,
}

impl SoakReport {
    /// Whether no run failed and every mutant was caught.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.failures.is_empty() && self.mutants.iter().all(|caught| caught.by.is_some())
    }
}

impl fmt::Display for SoakReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.total)?;
        writeln!(f, "{} runs failed", self.failures.len())?;
        for (seed, failure) in &self.failures {
            writeln!(f, "seed {seed}: {failure}")?;
        }
        let missed = self.mutants.iter().filter(|caught| caught.by.is_none());
        let (all, missed) = (self.mutants.len(), missed.count());
        writeln!(f, "{} of {all} mutants caught", all - missed)?;
        for caught in &self.mutants {
            writeln!(f, "{caught}")?;
        }
        Ok(())
    }
}

/// Runs at length; `progress` hears of each run and each mutant.
pub fn soak(options: &Options, mut progress: impl FnMut(Progress<'_>)) -> SoakReport {
    let mut report = SoakReport::default();
    let config = Config::default();
    for seed in options.seed..options.seed + options.runs {
        let result = run(seed, options.steps, &config);
        progress(Progress::Run {
            seed,
            result: &result,
        });
        match result {
            Ok(done) => report.total.add(&done),
            Err(failure) => report.failures.push((seed, failure)),
        }
    }
    for &mutant in Mutant::ALL {
        let caught = hunt(mutant, &options.hunt);
        progress(Progress::Mutant(&caught));
        report.mutants.push(caught);
    }
    report
}
