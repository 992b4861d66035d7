//! What the attacks do with threads; memory, slots and objects are `root-kit`'s.

pub(crate) use root_kit::{Kit, Shown, at, none, path, retype};
use sel4::{CNodeCapData, Result, UserContext, cap, init_thread::slot};

/// Sets how long [`pause`] takes at most, in microseconds.
pub(crate) fn pause_of(kit: &Kit, period: u64) -> Result<()> {
    kit.configure(slot::SC.cap(), period - period / 5, period)
}

/// Lets threads of lower priority run until the next period begins.
pub(crate) fn pause() {
    sel4::r#yield();
}

/// Starts a thread at an instruction, with a stack.
pub(crate) fn start(tcb: cap::Tcb, entry: u64, stack: u64) -> Result<()> {
    let mut registers = UserContext::default();
    *registers.pc_mut() = entry;
    *registers.sp_mut() = stack;
    tcb.tcb_write_all_registers(true, &mut registers)
}

/// The guard that lets a CNode of so many bits resolve whole words.
pub(crate) const fn guard(bits: usize) -> CNodeCapData {
    CNodeCapData::skip_high_bits(bits)
}
