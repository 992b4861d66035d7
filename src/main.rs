//! The launcher: composes the system's module from `system.toml` and the chosen guest, boots it in QEMU with the guest's
//! console on the terminal, and ends with the guest's exit status.
//!
//! Always: no QEMU outlives the launcher; the terminal is given back as it was found; whatever ends a run is said in one
//! line.

mod bench;
mod cli;
mod compose;
mod console;
mod error;
mod guests;
mod loc;
mod qemu;
mod report;
mod run;
mod soak;
mod terminal;
mod verdict;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command, RunArgs};
use error::Failure;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            eprintln!("umbra: {}", cli::one_line(&error.to_string()));
            return ExitCode::from(error::BAD_INPUT);
        }
        // Help and version are answers, not mistakes.
        Err(error) => error.exit(),
    };
    let done = match cli.command {
        Some(Command::Loc) => loc::print(),
        Some(Command::Soak(args)) => soak::soak(&args),
        Some(Command::Bench(args)) => bench::bench(&args),
        Some(Command::Run(args)) => boot(&args),
        None => boot(&cli.run),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            eprintln!("umbra: {failure}");
            ExitCode::from(failure.status())
        }
    }
}

/// Everything that can be refused is refused before QEMU starts.
fn boot(args: &RunArgs) -> Result<u8, Failure> {
    qemu::require_accelerator(args.accel)?;
    let image = compose::compose(args)?;
    if args.dry_run {
        println!("{}", qemu::show(args, &image, &compose::keep(&image)?));
        return Ok(0);
    }
    run::run(args, &image)
}
