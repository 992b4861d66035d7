//! The machine: QEMU's command line, and whether this host can run it.

use std::fs;
use std::path::Path;

use crate::cli::{Accel, RunArgs};
use crate::compose::Image;
use crate::error::Failure;

/// The program.
pub const QEMU: &str = "qemu-system-x86_64";
/// What says whether the host's KVM gives guests SVM.
const NESTED: &str = "/sys/module/kvm_amd/parameters/nested";

/// Whether QEMU says that it has failed; its warnings do not count.
pub fn is_failure(line: &str) -> bool {
    line.strip_prefix(QEMU)
        .is_some_and(|rest| rest.starts_with(": ") && !rest.starts_with(": warning:"))
}

/// Refuses what this host cannot do.
pub fn require_accelerator(accel: Accel) -> Result<(), Failure> {
    if accel == Accel::Tcg {
        return Ok(());
    }
    let refuse = |why: &str| {
        Err(Failure::Input(format!(
            "--accel kvm: {why}: use --accel tcg"
        )))
    };
    if fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_err()
    {
        return refuse("/dev/kvm cannot be opened");
    }
    match fs::read_to_string(NESTED) {
        Err(_) => refuse("this host is no AMD processor with SVM"),
        Ok(nested) if !["1", "Y"].contains(&nested.trim()) => {
            refuse("nested SVM is off (load kvm_amd with nested=1)")
        }
        Ok(_) => Ok(()),
    }
}

/// QEMU's arguments: COM1 is the guest's console on stdin and stdout, COM2 our log on stderr.
pub fn arguments(args: &RunArgs, image: &Image, module: &Path) -> Vec<String> {
    let accel = match args.accel {
        Accel::Tcg => "tcg",
        Accel::Kvm => "kvm",
    };
    // KVM leaves SVM out of every model unless asked.
    let mut cpu = format!("{},+svm", image.cpu);
    if args.icount {
        cpu += ",-rdrand,-rdseed";
    }
    let memory = format!("{}M", image.memory >> 20);
    let machine = format!("pc,accel={accel}");
    let kernel = image.kernel.to_string_lossy();
    let module = module.to_string_lossy();
    let mut line: Vec<&str> = vec!["-no-user-config", "-nodefaults", "-machine", &machine];
    line.extend([
        "-cpu",
        &cpu,
        "-m",
        &memory,
        "-display",
        "none",
        "-no-reboot",
    ]);
    line.extend([
        "-chardev",
        "stdio,id=guest,signal=off",
        "-serial",
        "chardev:guest",
    ]);
    line.extend([
        "-chardev",
        "file,id=log,path=/dev/stderr",
        "-serial",
        "chardev:log",
    ]);
    line.extend(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]);
    if args.icount {
        line.extend([
            "-icount",
            "shift=0,sleep=off",
            "-rtc",
            "base=2026-01-01T00:00:00,clock=vm",
        ]);
    }
    line.extend(["-kernel", &kernel, "-initrd", &module]);
    line.into_iter().map(str::to_owned).collect()
}

/// The command as a shell takes it.
pub fn show(args: &RunArgs, image: &Image, module: &Path) -> String {
    let mut shown = QEMU.to_owned();
    for argument in arguments(args, image, module) {
        shown.push(' ');
        shown += &quote(&argument);
    }
    shown
}

/// Quotes what a shell would take apart.
fn quote(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+,./:".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.into();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        Image {
            kernel: "/some where/kernel".into(),
            module: Vec::new(),
            memory: 512 << 20,
            cpu: "qemu64".into(),
            vms: vec!["main".into()],
            console: 0,
        }
    }

    #[test]
    fn a_deterministic_run_has_no_clock_and_no_random_numbers() {
        let args = RunArgs {
            icount: true,
            ..RunArgs::default()
        };
        let line = arguments(&args, &image(), Path::new("m")).join(" ");
        assert!(line.contains("-icount shift=0,sleep=off -rtc base=2026-01-01T00:00:00,clock=vm"));
        assert!(line.contains("-cpu qemu64,+svm,-rdrand,-rdseed"));
    }

    #[test]
    fn a_failure_of_qemu_is_told_from_its_warnings_and_from_other_lines() {
        assert!(is_failure("qemu-system-x86_64: -cpu none: unknown"));
        assert!(!is_failure(
            "qemu-system-x86_64: warning: TCG lacks a feature"
        ));
        assert!(!is_failure("a root task says qemu-system-x86_64: x"));
    }

    #[test]
    fn the_shown_command_survives_a_shell() {
        let line = show(&RunArgs::default(), &image(), Path::new("m"));
        assert!(
            line.contains("-kernel '/some where/kernel' -initrd m"),
            "{line}"
        );
        assert_eq!(quote("it's"), r"'it'\''s'");
    }
}
