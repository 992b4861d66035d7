//! A thread of another CSpace that counts periods, to show that the kernel still schedules.

use super::{kit, kit::Kit, priority};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use sel4::{CPtr, Result, cap_type, init_thread::slot::VSPACE};
use sel4_root_task::Stack;

const STACK_BYTES: usize = 4096;
static STACK: Stack<STACK_BYTES> = Stack::new();
static BEATS: AtomicU64 = AtomicU64::new(0);

/// What the thread does: it needs neither stack nor IPC buffer for it.
extern "C" fn beat() -> ! {
    loop {
        BEATS.fetch_add(1, Relaxed);
        sel4::r#yield();
    }
}

/// Starts it: a fifth of every millisecond.
pub(crate) fn start(kit: &mut Kit) -> Result<()> {
    let time = kit.time(200, 1000)?;
    let tcb = kit.thread(priority::HEARTBEAT, time, kit::none())?;
    let cspace = kit.make_sized::<cap_type::CNode>(1)?;
    let nowhere = CPtr::from_bits(0);
    tcb.tcb_set_space(nowhere, cspace, kit::guard(1), VSPACE.cap())?;
    tcb.debug_name(b"heartbeat");
    let top = (&raw const STACK).addr() + STACK_BYTES - 8;
    kit::start(tcb, beat as *const () as u64, top as u64)
}

/// Whether it goes on.
pub(crate) fn is_alive() -> bool {
    let before = BEATS.load(Relaxed);
    for _ in 0..100 {
        kit::pause();
        if BEATS.load(Relaxed) > before {
            return true;
        }
    }
    false
}
