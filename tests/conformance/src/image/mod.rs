//! The behaviours, one after another; the last line and the exit port say how they went.

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
use report::Check;
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
            report::line("kit", Err(why));
            return report::end();
        }
    };
    for &(name, body) in ALL {
        kit.begin(name);
        let check = body(&mut kit);
        report::line(name, check);
        kit.clean();
    }
    report::end();
}
