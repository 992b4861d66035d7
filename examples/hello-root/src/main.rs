//! A root task in ten lines: it says what the kernel gave it, and halts the machine.
#![no_std]
#![no_main]
use sel4_root_task::{debug_println, root_task};

#[root_task]
fn main(bootinfo: &sel4::BootInfoPtr) -> ! {
    debug_println!("hello, {} untyped capabilities", bootinfo.untyped().len());
    sel4::debug_halt();
    sel4::init_thread::suspend_self()
}
