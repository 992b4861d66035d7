//! Threads beside the runner: jobs, stacks, marks that tell who ran when.

#![allow(unsafe_code)] // stacks, thread blocks, the time stamp counter

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use sel4::{IpcBuffer, ThreadBlock};
use sel4_root_task::Stack;

/// Threads at most, the runner not counted.
pub(crate) const THREADS: usize = 16;
const STACK_BYTES: usize = 32 * 1024;
/// Where the IPC buffers are shown, a page each.
pub(crate) const BUFFERS: u64 = 0x10_0000_0000;

/// What a job is told.
pub(crate) type Args = [u64; 6];
/// What a thread does.
pub(crate) type Job = fn(Args);

struct Place {
    stack: Stack<STACK_BYTES>,
    job: AtomicUsize,
    args: [AtomicU64; 6],
    tcb: AtomicU64,
}

static PLACES: [Place; THREADS] = [const {
    Place {
        stack: Stack::new(),
        job: AtomicUsize::new(0),
        args: [const { AtomicU64::new(0) }; 6],
        tcb: AtomicU64::new(0),
    }
}; THREADS];

static MARKS: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Says that this was reached. Beyond 64 marks are lost.
pub(crate) fn mark(what: u64) {
    let n = COUNT.fetch_add(1, SeqCst);
    if let Some(mark) = MARKS.get(n) {
        mark.store(what, SeqCst);
    }
}

/// The marks since last asked.
pub(crate) fn take_marks() -> ([u64; 64], usize) {
    let count = COUNT.swap(0, SeqCst);
    (
        core::array::from_fn(|n| MARKS[n].load(SeqCst)),
        count.min(64),
    )
}

/// Numbers that threads count up.
pub(crate) static COUNTERS: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

/// The time stamp counter.
pub(crate) fn now() -> u64 {
    // SAFETY: reads a counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Counts up number `n` for ever.
pub(crate) fn count_for_ever(n: usize) -> ! {
    loop {
        COUNTERS[n].fetch_add(1, SeqCst);
    }
}

/// Puts a job into a place; the registers (rip, rsp, rdi) of a thread that does it.
pub(crate) fn prepare(place: usize, tcb: u64, args: Args, job: Job) -> [u64; 3] {
    let at = &PLACES[place];
    at.job.store(job as usize, SeqCst);
    at.tcb.store(tcb, SeqCst);
    for (cell, arg) in at.args.iter().zip(args) {
        cell.store(arg, SeqCst);
    }
    let top = (&raw const at.stack).addr() + STACK_BYTES - 8;
    [entry as *const () as u64, top as u64, place as u64]
}

/// The address of a place's IPC buffer.
pub(crate) const fn buffer(place: usize) -> u64 {
    BUFFERS + 4096 * place as u64
}

extern "C" fn entry(place: usize) -> ! {
    let at = &PLACES[place];
    // A thread that was deleted in the middle of a call left its block in use: each has a fresh one.
    let block = ThreadBlock::new();
    // SAFETY: this function never returns, so the block lives as long as the thread; block and buffer are the thread's own;
    // the job was stored by `prepare`.
    let job = unsafe {
        sel4::install_thread_block(&*core::ptr::from_ref(&block));
        sel4::set_ipc_buffer(&mut *(buffer(place) as *mut IpcBuffer));
        core::mem::transmute::<usize, Job>(at.job.load(SeqCst))
    };
    job(core::array::from_fn(|n| at.args[n].load(SeqCst)));
    loop {
        // A thread that suspends itself does so again when it is resumed.
        let _ = sel4::cap::Tcb::from_bits(at.tcb.load(SeqCst)).tcb_suspend();
    }
}
