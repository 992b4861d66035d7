//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Exit statuses and the keys of a run, for `--help`.
const NOTES: &str = "\
Keys, when the input is a terminal: Ctrl-A x ends the run, Ctrl-A Ctrl-A sends a Ctrl-A, Ctrl-A h shows this.

Exit status:
  0      the guest powered off, or the run was ended with Ctrl-A x
  odd    (v << 1) | 1: the guest wrote v to port 0xf4
  2      bad input: a file, an option or system.toml
  4      triple fault of the guest          6  the guest asked for a reset
  8      an exit nobody has an answer for  10  a guest state the processor refuses
  12     a domain failed                   14  the guest ran on a root that is not its own
  16     a device access nobody could emulate
  18     the kernel stopped with a panic   20  QEMU does not start, or ended without a word
  124    the time given with --timeout is over
  128+n  ended by signal n";

/// Umbra: x86_64 guests under shadow paging, in isolated domains.
#[derive(Parser)]
#[command(name = "umbra", version, after_help = NOTES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; without one, `run`.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of `run`.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What the launcher can do.
#[derive(Subcommand)]
pub enum Command {
    /// Boot a guest in QEMU, its console on the terminal
    #[command(after_help = NOTES)]
    Run(Box<RunArgs>),
    /// Print lines by crate, unsafe blocks, and what is trusted for what
    Loc,
}

/// Options of a run.
#[derive(Args, Clone, Debug, Default)]
pub struct RunArgs {
    /// A guest that comes with Umbra: linux, hello, paging … [default: linux if it is there, else paging]
    #[arg(long, value_name = "NAME", conflicts_with = "kernel")]
    pub guest: Option<String>,
    /// A guest's file: Linux bzImage or multiboot 1 program, told apart by content
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// Linux: the initramfs; multiboot: a module (may be given again)
    #[arg(long, value_name = "FILE")]
    pub initrd: Vec<PathBuf>,
    /// More of the guest's command line
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub append: Option<String>,
    /// Guest memory [default: as system.toml says]
    #[arg(long, value_name = "256M", value_parser = image::config::parse_size)]
    pub memory: Option<u64>,
    /// How the guest's shadow is kept [default: as system.toml says]
    #[arg(long, value_name = "NAME", value_parser = ["vtlb"])]
    pub policy: Option<String>,
    /// What executes the machine's instructions
    #[arg(long, value_enum, default_value_t)]
    pub accel: Accel,
    /// QEMU's processor model [default: as system.toml says]
    #[arg(long, value_name = "MODEL")]
    pub cpu: Option<String>,
    /// Deterministic: the clock counts instructions, the date is fixed, no random-number instructions
    #[arg(long, conflicts_with = "accel")]
    pub icount: bool,
    /// End the run after so many seconds, with exit status 124
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub timeout: Option<u64>,
    /// Write the run's counters, per VM
    #[arg(long, value_name = "FILE.json")]
    pub stats: Option<PathBuf>,
    /// The guest's console alone on stdout, everything else on stderr
    #[arg(long)]
    pub quiet: bool,
    /// Compose the image, print QEMU's command, start nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Boot this program as the root task, as it is: no system.toml, no VMs (for tests of the kernel)
    #[arg(long, value_name = "FILE", hide = true, conflicts_with_all = ["guest", "kernel", "system"])]
    pub root_task: Option<PathBuf>,
    /// Another system description
    #[arg(long, value_name = "FILE")]
    pub system: Option<PathBuf>,
}

/// What executes instructions.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Accel {
    /// QEMU's software CPU
    #[default]
    Tcg,
    /// An AMD host with nested SVM
    Kvm,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_is_what_happens_without_a_command() {
        let with = Cli::parse_from(["umbra", "run", "--guest", "hello"]);
        let without = Cli::parse_from(["umbra", "--guest", "hello"]);
        assert!(
            matches!(with.command, Some(Command::Run(args)) if args.guest.as_deref() == Some("hello"))
        );
        assert!(without.command.is_none());
        assert_eq!(without.run.guest.as_deref(), Some("hello"));
    }

    #[test]
    fn an_append_may_begin_with_a_hyphen() {
        let cli = Cli::parse_from(["umbra", "run", "--kernel", "k", "--append", "-x y"]);
        assert!(
            matches!(cli.command, Some(Command::Run(args)) if args.append.as_deref() == Some("-x y"))
        );
    }
}
