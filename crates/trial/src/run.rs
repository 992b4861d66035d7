//! Runs: episodes of a random guest each, until the steps are done or something goes wrong.

use crate::dice::Dice;
use crate::failure::{Complaint, Failure};
use crate::generate::Generator;
use crate::op::Op;
use crate::pool::Pool;
use crate::ram::Ram;
use crate::shrink::shrink;
use crate::world::{Room, World};
use oracle::{Mirror, Settings};
use shadow::{Counters, Engine};
use std::fmt;

/// Fewest pool pages the engine takes.
const FEWEST_PAGES: usize = Engine::<&Ram, Mirror<'static, Pool<'static>>>::FEWEST_PAGES;

/// How a run goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Steps of an episode, after which a new guest begins.
    pub episode: u64,
    /// What the oracle judges.
    pub settings: Settings,
    /// Whether a failing program is made short.
    pub shrink: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            episode: 2000,
            settings: Settings {
                period: 24,
                max_repeats: 12,
                ..Settings::EVERYTHING
            },
            shrink: true,
        }
    }
}

/// The surroundings of an episode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setup {
    /// Pages of the shadow pool.
    pub pages: usize,
    /// Physical address bits of the guest.
    pub width: u32,
    /// Whether the guest has 1 GiB pages.
    pub gigabyte_pages: bool,
}

impl Setup {
    fn roll(dice: &mut Dice) -> Self {
        let more = match dice.below(4) {
            0 => dice.below(4) as usize,
            1 => dice.below(12) as usize,
            2 => 7 + dice.below(8) as usize,
            _ => 31 + dice.below(30) as usize,
        };
        Self {
            pages: FEWEST_PAGES + more,
            width: dice.pick(&[36, 40, 40, 52]),
            gigabyte_pages: !dice.one_in(4),
        }
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pages,
            width,
            gigabyte_pages,
        } = self;
        write!(
            f,
            "Setup {{ pages: {pages}, width: {width}, gigabyte_pages: {gigabyte_pages} }}"
        )
    }
}

/// What a run without failure came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Steps done.
    pub steps: u64,
    /// Guests they were done by.
    pub episodes: u64,
    /// What the engine counted, in sum; the maxima are of all.
    pub counters: Counters,
}

impl Report {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.episodes += other.episodes;
        self.count(other.counters);
    }

    fn count(&mut self, counters: Counters) {
        let all = &mut self.counters;
        all.fills += counters.fills;
        all.injected += counters.injected;
        all.device += counters.device;
        all.flush_address += counters.flush_address;
        all.flush_all += counters.flush_all;
        all.evictions += counters.evictions;
        all.max_touched = all.max_touched.max(counters.max_touched);
        all.pages_peak = all.pages_peak.max(counters.pages_peak);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counters {
            fills,
            injected,
            device,
            evictions,
            max_touched,
            ..
        } = self.counters;
        write!(
            f,
            "{} steps of {} guests: {fills} filled, {injected} injected, {device} device, {evictions} evictions, at most {max_touched} entries in a request",
            self.steps, self.episodes
        )
    }
}

/// Runs random guest programs.
///
/// # Errors
/// The first failure, with a short program that leads there.
pub fn run(seed: u64, steps: u64, config: &Config) -> Result<Report, Failure> {
    let mut dice = Dice::new(seed);
    let mut room = Room::new();
    let mut report = Report::default();
    while report.steps < steps {
        let setup = Setup::roll(&mut dice);
        let length = config.episode.min(steps - report.steps);
        let mut ops = Vec::with_capacity(length as usize);
        let generator = Generator::new(dice.next());
        match episode(&setup, config, &mut room, generator, length, &mut ops) {
            Ok(counters) => {
                report.steps += length;
                report.episodes += 1;
                report.count(counters);
            }
            Err(complaint) => {
                let failure = Failure {
                    step: report.steps + ops.len() as u64,
                    complaint,
                    setup,
                    ops,
                };
                return Err(if config.shrink {
                    shrink(failure, config)
                } else {
                    failure
                });
            }
        }
    }
    Ok(report)
}

/// One guest's life. `ops` gets what it did.
fn episode(
    setup: &Setup,
    config: &Config,
    room: &mut Room,
    mut generator: Generator,
    length: u64,
    ops: &mut Vec<Op>,
) -> Result<Counters, Complaint> {
    let ram = Ram::new();
    let mut world = begin(setup, config, &ram, room)?;
    for _ in 0..length {
        let op = generator.next(&world);
        ops.push(op);
        world.step(op)?;
    }
    world.check_all()?;
    Ok(world.counters())
}

fn begin<'a>(
    setup: &Setup,
    config: &Config,
    ram: &'a Ram,
    room: &'a mut Room,
) -> Result<World<'a>, Complaint> {
    World::new(setup, config.settings, ram, room)
        .map_err(|error| Complaint::Finding(oracle::Finding::Failed(error)))
}

/// Runs a program again, with everything judged after each step.
///
/// # Errors
/// What goes wrong, and after how many steps.
pub fn replay(setup: &Setup, config: &Config, ops: &[Op]) -> Result<(), (usize, Complaint)> {
    let mut room = Room::new();
    replay_in(&mut room, setup, config, ops)
}

pub(crate) fn replay_in(
    room: &mut Room,
    setup: &Setup,
    config: &Config,
    ops: &[Op],
) -> Result<(), (usize, Complaint)> {
    let ram = Ram::new();
    let everything = Settings {
        period: 1,
        sample: usize::MAX,
        ..config.settings
    };
    let config = Config {
        settings: everything,
        ..*config
    };
    let mut world = begin(setup, &config, &ram, room).map_err(|complaint| (0, complaint))?;
    for (index, &op) in ops.iter().enumerate() {
        world.step(op).map_err(|complaint| (index + 1, complaint))?;
    }
    world
        .check_all()
        .map_err(|complaint| (ops.len(), complaint))
}
