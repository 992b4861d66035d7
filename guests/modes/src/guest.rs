//! All of it, or what the command line chooses.

mod choice;
mod places;
mod rules;
mod switch;
mod tour;

use choice::Choice;
use guest_script::script::{Report, Script};

guest_rt::entry!(main);

fn main() {
    let mut report = Report::new("modes");
    let choice = Choice::from_command_line();
    tour::run(&choice, &mut report);
    rules::run(&choice, &mut Script::new(), &mut report);
    choice.tell(report.checks);
    report.finish();
}
