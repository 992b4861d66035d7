//! Checks the memory management of the machine it runs on, in long mode, in PAE paging and with paging off, against the
//! rules of APM vol. 2 chapter 5. Every result is checked here; whoever runs it needs only the last line or the exit value.
//! The word `two-level` on the command line adds 32-bit paging without PAE.
//!
//! Always: a check is an access, or a look at a table entry, whose outcome the manual fixes. Where the manual leaves a
//! choice (a global page after a CR3 load), every permitted outcome passes.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod both;
#[cfg(target_os = "none")]
mod single;
#[cfg(target_os = "none")]
mod two_level;
#[cfg(target_os = "none")]
mod walk;

#[cfg(target_os = "none")]
mod guest {
    #![allow(unsafe_code)] // `entry!` gives `main` its symbol

    use guest_rt::multiboot::has_word;

    use crate::{both, single, walk};
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
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this program runs as a guest; build it with `cargo build` at the workspace's root");
}
