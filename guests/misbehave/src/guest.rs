//! The modes, by name.

mod debug;
mod fatal;
mod fpu;
mod memory;
mod ports;
mod privileged;
mod real;
mod report;
mod time;

use guest_rt::{exit, multiboot, println};
use report::Report;

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
