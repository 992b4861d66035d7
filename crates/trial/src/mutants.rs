//! Deliberate faults: each mutant of the engine has to be seen.

use crate::run::{Config, run};
use oracle::Settings;
use shadow::mutant::{self, Mutant};
use std::fmt;

/// How far a hunt goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hunt {
    /// First seed.
    pub seed: u64,
    /// Seeds tried.
    pub seeds: u64,
    /// Steps a seed.
    pub steps: u64,
    /// What the oracle judges.
    pub settings: Settings,
}

impl Default for Hunt {
    fn default() -> Self {
        Self {
            seed: 1,
            seeds: 4,
            steps: 250_000,
            settings: Config::default().settings,
        }
    }
}

/// What became of one mutant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caught {
    /// The mutant.
    pub mutant: Mutant,
    /// Steps done until it was caught, or all.
    pub steps: u64,
    /// By what, if it was.
    pub by: Option<String>,
}

impl fmt::Display for Caught {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.mutant.name();
        match &self.by {
            Some(by) => write!(f, "{name:32} step {:>8}  {by}", self.steps),
            None => write!(f, "{name:32} NOT CAUGHT in {} steps", self.steps),
        }
    }
}

/// Lets one mutant loose until something goes wrong.
#[must_use]
pub fn hunt(mutant: Mutant, hunt: &Hunt) -> Caught {
    let config = Config {
        settings: hunt.settings,
        shrink: false,
        ..Config::default()
    };
    mutant::set(Some(mutant));
    let mut caught = Caught {
        mutant,
        steps: 0,
        by: None,
    };
    for seed in hunt.seed..hunt.seed + hunt.seeds {
        match run(seed, hunt.steps, &config) {
            Ok(report) => caught.steps += report.steps,
            Err(failure) => {
                caught.steps += failure.step;
                caught.by = Some(failure.complaint.rule().to_owned());
                break;
            }
        }
    }
    mutant::set(None);
    caught
}

/// Every mutant, one after the other.
#[must_use]
pub fn mutants(limits: &Hunt) -> Vec<Caught> {
    Mutant::ALL
        .iter()
        .map(|&mutant| hunt(mutant, limits))
        .collect()
}
