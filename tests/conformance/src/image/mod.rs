//! The behaviours, one after another, twice over; the last line and the exit port say how they went.
//!
//! The first time a thread watches that none takes for ever. Such a thread always waits for its time, which by itself changes
//! the kernel's ways: so the second time nobody waits but who belongs to the behaviour.

mod authority;
mod boot;
mod cnode;
mod donation;
mod edu;
mod entry;
mod fault;
mod interrupt;
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

use edu::Edu;
use kit::Kit;
use report::{Check, Turn};
use sel4::BootInfoPtr;

sel4_root_task::declare_root_task! { main = main, stack_size = 256 * 1024 }

include!("../names.rs");

/// A behaviour: its name, and how to look whether the kernel has it.
type Behaviour = (&'static str, fn(&mut Kit) -> Check);

macro_rules! table {
    ($($module:ident: $($name:ident)*;)*) => {
        &[$($((stringify!($name), $module::$name),)*)*]
    };
}
const ALL: &[Behaviour] = behaviours!(table);
const OF_A_DEVICE: &[Behaviour] = device_behaviours!(table);

fn main(boot_info: &BootInfoPtr) {
    let mut kit = match Kit::new(boot_info) {
        Ok(kit) => kit,
        Err(why) => {
            report::line(Turn::Watched, "kit", Err(why));
            return report::end();
        }
    };
    let check = twice(&mut kit);
    if check.is_err() {
        report::line(Turn::Watched, "kit", check);
    }
    report::end();
}

/// Looks at the behaviours that this machine is for.
fn twice(kit: &mut Kit) -> Check {
    let has_device = Edu::is_there(kit)?;
    kit.clean();
    let behaviours = if has_device { OF_A_DEVICE } else { ALL };
    look(kit, Turn::Watched, behaviours);
    kit.stop_watching()?;
    look(kit, Turn::Alone, behaviours);
    Ok(())
}

/// Looks at each.
fn look(kit: &mut Kit, turn: Turn, behaviours: &[Behaviour]) {
    for &(name, body) in behaviours {
        report::begins(turn, name);
        kit.begin(name);
        let check = body(kit);
        report::line(turn, name, check);
        kit.clean();
    }
}
