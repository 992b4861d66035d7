//! Building and supervising the system. Files follow one another as things happen: the archive is found, objects are
//! made, domains and guests built of them, what is not needed given up, everything started, and then supervised.

mod archive;
mod devices;
mod domain;
mod error;
mod guest;
mod objects;
mod space;
mod start;
mod supervise;
mod surrender;
mod system;
mod window;

use archive::Image;
use domain::Workshop;
use error::Result;
use objects::Objects;
use sel4::{BootInfoPtr, logging::PLAIN};
use system::System;
use window::Window;

sel4_root_task::declare_root_task! { main = main, stack_size = 256 * 1024 }

fn main(boot_info: &BootInfoPtr) {
    let Err(error) = run(boot_info);
    log::error!("{error:?}");
    log::info!(target: PLAIN, "umbra-fail domain=root-task cause=cannot-build address=0x0");
}

fn run(boot_info: &BootInfoPtr) -> Result<sel4_root_task::Never> {
    let image = Image::find(boot_info)?;
    let archive = image.archive()?;
    let mut objects = Objects::new(boot_info);
    log::info!(
        "{} MiB of memory, {} VMs",
        objects.memory_left() >> 20,
        archive.vms.len()
    );
    let window = Window::new(&mut objects)?;
    image.check(&mut objects, &window)?;
    let mut workshop = Workshop {
        objects: &mut objects,
        window: &window,
        image: &image,
        boot_info,
    };
    let mut system = System::build(&mut workshop, &archive)?;
    surrender::all(boot_info)?;
    start::all(&mut system)?;
    log::info!(
        "everything runs; {} MiB of memory left",
        objects.memory_left() >> 20
    );
    supervise::forever(&mut system)
}
