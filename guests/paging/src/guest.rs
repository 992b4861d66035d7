//! The groups, mode by mode.

mod both;
mod single;
mod two_level;
mod walk;

use guest_rt::multiboot::has_word;
use guest_script::script::{Report, Script};
use guest_script::space::{Mode, Space};

guest_rt::entry!(main);

fn main() {
    let mut report = Report::new("paging");
    let mut script = Script::new();
    for mode in [Mode::Long, Mode::Pae] {
        let mut space = Space::new(mode);
        for (name, group) in both::GROUPS
            .iter()
            .chain(walk::GROUPS)
            .chain(single::of(mode))
        {
            group(&mut space, &mut script);
            script.run(&space, name, &mut report);
        }
    }
    let two_level = has_word("two-level");
    for mode in [Mode::TwoLevel, Mode::Flat]
        .into_iter()
        .skip(usize::from(!two_level))
    {
        let mut space = Space::new(mode);
        for (name, group) in single::of(mode) {
            group(&mut space, &mut script);
            script.run(&space, name, &mut report);
        }
    }
    report.finish();
}
