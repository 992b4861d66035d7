//! The tests, by name.

mod code;
mod delivery;
mod pool;
mod roles;
mod targets;

use guest_rt::{exit, multiboot, println};
use guest_script::script::{Report, Script};

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
        report.test(name, |report| test(&mut script, report));
    }
    report.finish();
}
