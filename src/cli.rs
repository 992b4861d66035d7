//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Exit statuses and the keys of a run, for `--help`.
const NOTES: &str = "\
Keys, when the input is a terminal: Ctrl-A x ends the run, Ctrl-A Ctrl-A sends a Ctrl-A, Ctrl-A h shows this.

Exit status:
  0      the guest powered off, a root task called DebugHalt, or the run was ended with Ctrl-A x
  odd    (v << 1) | 1: the guest or root task wrote v to port 0xf4
  2      bad input: a file, an option or system.toml
  4      triple fault of the guest          6  the guest asked for a reset
  8      an exit nobody has an answer for  10  a guest state the processor refuses
  12     a domain failed, or --oracle objected
  14     the guest ran on a root that is not its own
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
    /// Try the shadow MMU with random guests under the oracle, and with deliberate faults, on this host: no QEMU
    Soak(SoakArgs),
    /// Measure the kernel in instructions: its operations beside seL4's, or how long interrupts wait
    Bench(BenchArgs),
    /// Print lines by crate, unsafe blocks, and what is trusted for what
    Loc,
}

/// Options of a run.
#[derive(Args, Clone, Debug, Default)]
pub struct RunArgs {
    /// A guest that comes with Umbra: linux, linux-686, linux-686-pae, memtest, memtest-32, hello, paging … [default: linux if
    /// it is there, else paging]
    #[arg(long, value_name = "NAME", conflicts_with = "kernel")]
    pub guest: Option<String>,
    /// A guest's file: Linux bzImage, multiboot 1 or PVH program, told apart by content
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// Linux: the initramfs; multiboot and PVH: a module (may be given again)
    #[arg(long, value_name = "FILE")]
    pub initrd: Vec<PathBuf>,
    /// More of the guest's command line
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub append: Option<String>,
    /// Guest memory [default: as system.toml says]; with --root-task the machine's [default: 3G]
    #[arg(long, value_name = "256M", value_parser = image::config::parse_size)]
    pub memory: Option<u64>,
    /// What translates the guest's addresses: shadow tables, or the processor by itself [default: as system.toml says]
    #[arg(long, value_name = "NAME", value_parser = ["shadow", "nested"])]
    pub paging: Option<String>,
    /// The shadow pool, or its number of pages [default: as system.toml says]
    #[arg(long, value_name = "8M", value_parser = image::config::parse_shadow)]
    pub shadow: Option<u64>,
    /// How the guest's shadow is kept [default: as system.toml says]
    #[arg(long, value_name = "NAME", value_parser = ["vtlb"])]
    pub policy: Option<String>,
    /// Check every shadow entry against a model of what the guest may see; stop the VM at the first finding
    #[arg(long)]
    pub oracle: bool,
    /// What executes the machine's instructions
    #[arg(long, value_enum, default_value_t)]
    pub accel: Accel,
    /// QEMU's processor model, any that has SVM [default: as system.toml says; with --paging nested one that has it]
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
    /// Boot another root task, any static ELF program built for seL4 (x86_64, MCS): no system.toml, no guest
    #[arg(long, value_name = "FILE", conflicts_with_all = ["guest", "kernel", "system", "initrd", "append", "paging", "shadow", "policy", "oracle"])]
    pub root_task: Option<PathBuf>,
    /// The kernel for --root-task: with debug system calls and their console, or without
    #[arg(long, value_enum, default_value_t, requires = "root_task")]
    pub build: Build,
    /// Another system description
    #[arg(long, value_name = "FILE")]
    pub system: Option<PathBuf>,
}

/// Options of a soak.
#[derive(Args, Clone, Debug)]
pub struct SoakArgs {
    /// First seed; each run has the next one
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(..=u64::from(u32::MAX)))]
    pub seed: u64,
    /// Runs
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        conflicts_with = "minutes"
    )]
    pub runs: u64,
    /// Steps of a run
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=u64::from(u32::MAX)))]
    pub steps: u64,
    /// Go on with runs until so many minutes are over, after the deliberate faults
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub minutes: Option<u64>,
}

/// Options of a measurement.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// What is measured
    #[arg(value_enum)]
    pub what: Bench,
    /// Write the rows, too
    #[arg(long, value_name = "FILE.json")]
    pub json: Option<PathBuf>,
    /// Give up after so many seconds, with exit status 124
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub timeout: u64,
}

/// What can be measured.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bench {
    /// System calls, faults, a guest's exits, invocations
    Ipc,
    /// The longest time the kernel does not look for interrupts, in its longest operations
    Latency,
}

/// Kinds of kernels.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Build {
    /// Debug system calls answer
    #[default]
    Debug,
    /// They are unknown system calls
    Release,
    /// With the stopwatch of `umbra bench latency`
    #[value(skip)]
    Latency,
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

/// The parser's complaint, which has paragraphs, as one line: what is wrong and what is possible.
pub fn one_line(complaint: &str) -> String {
    let kept = complaint
        .split("\n\n")
        .map(|paragraph| paragraph.trim().trim_start_matches("error: "))
        .filter(|paragraph| {
            let general = ["Usage:", "For more information"];
            !paragraph.is_empty() && !general.iter().any(|start| paragraph.starts_with(start))
        });
    let words: Vec<&str> = kept.flat_map(str::split_whitespace).collect();
    format!("{}: see --help", words.join(" "))
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
    fn a_complaint_is_one_line_with_what_is_possible() {
        let complain = |arguments: &[&str]| {
            let error = Cli::try_parse_from(arguments).err().expect("refused");
            one_line(&error.to_string())
        };
        assert_eq!(
            complain(&["umbra", "--paging", "soft"]),
            "invalid value 'soft' for '--paging <NAME>' [possible values: shadow, nested]: see --help"
        );
        let line = complain(&["umbra", "run", "--shadow", "1"]);
        assert!(
            line.starts_with("invalid value '1' for '--shadow <8M>': the shadow pool is too"),
            "{line}"
        );
        let line = complain(&["umbra", "--guests", "x"]);
        assert!(line.contains("'--guest'"), "{line}");
    }

    /// Words that a command line may be made of, some of them wrong.
    const WORDS: &[&str] = &[
        "run",
        "soak",
        "bench",
        "loc",
        "ipc",
        "--guest",
        "hello",
        "--kernel",
        "--initrd",
        "--append",
        "--memory",
        "64M",
        "0",
        "-1",
        "18446744073709551616",
        "--paging",
        "nested",
        "--shadow",
        "37",
        "--oracle",
        "--accel",
        "kvm",
        "--cpu",
        "--icount",
        "--timeout",
        "--stats",
        "--quiet",
        "--dry-run",
        "--root-task",
        "--build",
        "release",
        "--system",
        "--",
        "-",
        "",
        "=",
        "--memory=",
        "--help",
        "-V",
        "\u{1f600}",
        "a\nb",
        "--minutes",
        "--runs",
        "--seed",
        "--json",
    ];

    proptest::proptest! {
        #[test]
        fn any_command_line_is_taken_or_refused_in_one_line(
            picks in proptest::collection::vec(0..WORDS.len(), 0..8),
        ) {
            let words = picks.iter().map(|&pick| WORDS[pick]);
            if let Err(error) = Cli::try_parse_from(std::iter::once("umbra").chain(words))
                && error.use_stderr()
            {
                let line = one_line(&error.to_string());
                proptest::prop_assert_eq!(line.lines().count(), 1, "{}", line);
                proptest::prop_assert!(line.ends_with(": see --help"));
            }
        }
    }

    #[test]
    fn an_append_may_begin_with_a_hyphen() {
        let cli = Cli::parse_from(["umbra", "run", "--kernel", "k", "--append", "-x y"]);
        assert!(
            matches!(cli.command, Some(Command::Run(args)) if args.append.as_deref() == Some("-x y"))
        );
    }
}
