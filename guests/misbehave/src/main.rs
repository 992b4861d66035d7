//! Guests that misbehave, one for each word of the command line, and a few that merely use what a kernel uses at boot.
//!
//! Each prints `misbehave MODE: WHAT: OUTCOME` lines and ends with success when it saw what hardware does. Modes that
//! hardware ends (a triple fault) or never ends (an endless loop) print one line that says so, and then do it.
//! QEMU's own software CPU departs from hardware in some points; there, and only there, its answer passes too and is named.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod debug;
#[cfg(target_os = "none")]
mod fatal;
#[cfg(target_os = "none")]
mod fpu;
#[cfg(target_os = "none")]
mod memory;
#[cfg(target_os = "none")]
mod ports;
#[cfg(target_os = "none")]
mod privileged;
#[cfg(target_os = "none")]
mod real;
#[cfg(target_os = "none")]
mod report;
#[cfg(target_os = "none")]
mod time;

#[cfg(target_os = "none")]
mod guest {
    #![allow(unsafe_code)] // `entry!` gives `main` its symbol

    use guest_rt::{exit, multiboot, println};

    use crate::report::Report;
    use crate::{debug, fatal, fpu, memory, ports, privileged, real, time};

    type Mode = fn(&mut Report);

    /// The modes by name.
    const MODES: &[(&str, Mode)] = &[
        ("bad-msr", privileged::bad_msr),
        ("bad-port", ports::bad_port),
        ("breakpoint", debug::breakpoint),
        ("cr-garbage", privileged::cr_garbage),
        ("cr3-outside", fatal::cr3_outside),
        ("cr3-reserved", privileged::cr3_reserved),
        ("debug-trap", debug::debug_trap),
        ("fpu", fpu::fpu),
        ("hlt-off", fatal::hlt_off),
        ("idt-gone", fatal::idt_gone),
        ("irq-tick", time::irq_tick),
        ("jump-nowhere", memory::jump_nowhere),
        ("linux-like-calibrate", time::calibrate),
        ("read-nowhere", memory::read_nowhere),
        ("real-mode", real::real_mode),
        ("resume-flag", debug::resume_flag),
        ("spin", fatal::spin),
        ("string-io", ports::string_io),
        ("svm-insn", privileged::svm_instructions),
        ("triple-fault", fatal::triple_fault),
    ];

    guest_rt::entry!(main);

    fn main() {
        let Some((name, mode)) = multiboot::named(MODES).next() else {
            println!("misbehave: the command line names none of these:");
            MODES.iter().for_each(|(name, _)| println!("  {name}"));
            exit::exit(exit::USAGE);
        };
        let mut report = Report::new(name);
        mode(&mut report);
        report.finish();
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this program runs as a guest; build it with `cargo build` at the workspace's root");
}
