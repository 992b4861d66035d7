//! What shadow page tables have been seen to get wrong: one test each, named for what it checks. Words on the command line
//! choose; without one, all that do not end the machine run in turn.
//!
//! Always: a test checks what the manual fixes, and nothing where a TLB may hold either of two translations.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod code;
#[cfg(target_os = "none")]
mod delivery;
#[cfg(target_os = "none")]
mod pool;
#[cfg(target_os = "none")]
mod roles;
#[cfg(target_os = "none")]
mod targets;

#[cfg(target_os = "none")]
mod guest {
    #![allow(unsafe_code)] // `entry!` gives `main` its symbol

    use guest_rt::{exit, multiboot, println};
    use guest_script::script::{Report, Script};

    use crate::{code, delivery, pool, roles, targets};

    /// A test.
    type Test = fn(&mut Script, &mut Report);

    /// Those that come back.
    const TESTS: &[(&str, Test)] = &[
        ("role-not-compared", roles::role_not_compared),
        ("frame-at-two-levels", roles::frame_at_two_levels),
        ("shared-table", roles::shared_table),
        ("recycled-table", roles::recycled_table),
        ("self-map", roles::self_map),
        ("table-in-its-own-page", roles::table_in_its_own_page),
        ("large-page-twice", roles::large_page_twice),
        ("ram-to-hole", targets::ram_to_hole),
        ("no-flush-needed", targets::no_flush_needed),
        ("table-in-a-hole", targets::table_in_a_hole),
        ("cr3-unused", targets::cr3_unused),
        ("odd-invlpg", targets::odd_invlpg),
        ("two-level-memory", targets::two_level_memory),
        ("self-modifying", code::self_modifying),
        ("single-steps", code::single_steps),
        ("ring-3-kernel", code::ring_3_kernel),
        ("delivery-idt", delivery::idt_absent),
        ("delivery-idt-32", delivery::idt_absent_32),
        ("delivery-stack", delivery::stack_absent),
        ("many-roots", pool::many_roots),
        ("worst-instruction", pool::worst_instruction),
    ];

    guest_rt::entry!(main);

    fn main() {
        if multiboot::has_word("cr3-hole") {
            targets::cr3_in_a_hole();
        }
        if multiboot::has_word("help") {
            TESTS.iter().for_each(|(name, _)| println!("  {name}"));
            exit::exit(exit::USAGE);
        }
        let mut script = Script::new();
        let mut report = Report::new("killers");
        report.verbose = false;
        for (name, test) in multiboot::named_or_all(TESTS) {
            let before = (report.checks, report.wrong);
            test(&mut script, &mut report);
            let (checks, wrong) = (report.checks - before.0, report.wrong - before.1);
            println!("killers: {name}: {checks} checks, {wrong} wrong");
        }
        report.finish();
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this program runs as a guest; build it with `cargo build` at the workspace's root");
}
