//! Each deliberate fault by its name: the oracle of the trials sees it, and so does the one of the booted system, which looks
//! at samples to be fast. What caught it is printed.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use oracle::Settings;
use shadow::mutant::Mutant;
use trial::{Hunt, hunt};

fn main() -> ExitCode {
    let trials = Mutant::ALL.iter().flat_map(|&mutant| {
        [
            caught("caught", mutant, Hunt::default().settings),
            caught("caught_in_the_booted_system", mutant, Settings::BOOTED),
        ]
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn caught(how: &str, mutant: Mutant, settings: Settings) -> Trial {
    let limits = Hunt {
        settings,
        ..Hunt::default()
    };
    Trial::test(format!("{}::{how}", mutant.name()), move || {
        let caught = hunt(mutant, &limits);
        println!("{caught}");
        match caught.by {
            Some(_) => Ok(()),
            None => Err(Failed::from(format!(
                "not caught in {} steps",
                caught.steps
            ))),
        }
    })
}
