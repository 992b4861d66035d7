//! The behaviours, one after another, twice over; the last line and the exit port say how they went.
//!
//! The first time a thread watches that none takes for ever. Such a thread always waits for its time, which by itself changes
//! the kernel's ways: so the second time nobody waits but who belongs to the behaviour.

mod authority;
mod boot;
mod cnode;
mod donation;
mod entry;
mod fault;
mod ipc;
mod kit;
mod notification;
mod report;
mod sched;
mod stories;
mod tcb;
mod thread;
mod transfer;
mod untyped;
mod vspace;

use kit::Kit;
use report::{Check, Turn};
use sel4::BootInfoPtr;

sel4_root_task::declare_root_task! { main = main, stack_size = 256 * 1024 }

include!("../names.rs");

/// A behaviour: its name, and how to look whether the kernel has it.
type Behaviour = (&'static str, fn(&mut Kit) -> Check);

macro_rules! table {
    ($($module:ident: $($name:ident)*;)*) => {
        const ALL: &[Behaviour] = &[$($((stringify!($name), $module::$name),)*)*];
    };
}
behaviours!(table);

fn main(boot_info: &BootInfoPtr) {
    let mut kit = match Kit::new(boot_info) {
        Ok(kit) => kit,
        Err(why) => {
            report::line(Turn::Watched, "kit", Err(why));
            return report::end();
        }
    };
    look(&mut kit, Turn::Watched);
    if let Err(why) = kit.stop_watching() {
        report::line(Turn::Watched, "kit", Err(why));
        return report::end();
    }
    look(&mut kit, Turn::Alone);
    report::end();
}

/// Looks at every behaviour.
fn look(kit: &mut Kit, turn: Turn) {
    for &(name, body) in ALL {
        report::begins(turn, name);
        kit.begin(name);
        let check = body(kit);
        report::line(turn, name, check);
        kit.clean();
    }
}
