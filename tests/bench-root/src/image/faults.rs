//! Fault round trips: fault, handler, reply that restarts the thread, and the same fault again.

#![allow(unsafe_code)] // instructions that fault

use super::{
    kit::{Kit, none},
    priority,
    report::{ROUNDS, WARM_UP, clock, overhead, row},
};
use bench_root::Summary;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use sel4::{Cap, MessageInfo, Result, cap, cap_type, init_thread::slot};

static ENDPOINT: AtomicU64 = AtomicU64::new(0);
static REPLY: AtomicU64 = AtomicU64::new(0);
static DONE: AtomicU64 = AtomicU64::new(0);
/// How many words the handler answers with.
static LENGTH: AtomicU64 = AtomicU64::new(0);
/// Readings of the clock, one after each message.
static READINGS: [AtomicU64; ROUNDS as usize + 1] =
    [const { AtomicU64::new(0) }; ROUNDS as usize + 1];

/// Readings before each fault, at the handler, and behind the instruction that faulted.
static FAULTED: [AtomicU64; STEPS] = [const { AtomicU64::new(0) }; STEPS];
static HANDLED: [AtomicU64; STEPS] = [const { AtomicU64::new(0) }; STEPS];
static RESUMED: [AtomicU64; STEPS] = [const { AtomicU64::new(0) }; STEPS];
/// Faults that are stepped over; those before the last [`ROUNDS`] do not count.
const STEPS: usize = (WARM_UP + ROUNDS) as usize;
/// Length of UD2.
const UD2_BYTES: u64 = 2;

/// Answers faults, each with a reading of the clock.
pub(crate) extern "C" fn handle() -> ! {
    let (endpoint, reply, done): (cap::Endpoint, cap::Reply, cap::Notification) = (
        Cap::from_bits(ENDPOINT.load(Relaxed)),
        Cap::from_bits(REPLY.load(Relaxed)),
        Cap::from_bits(DONE.load(Relaxed)),
    );
    let info = MessageInfo::new(0, 0, 0, LENGTH.load(Relaxed) as usize);
    let _ = endpoint.recv_with_mrs(reply);
    for reading in &READINGS {
        let message = endpoint.reply_recv_with_mrs(
            info,
            ANSWER.each_ref().map(|word| word.load(Relaxed)),
            reply,
        );
        reading.store(clock(), Relaxed);
        core::hint::black_box(message);
    }
    loop {
        done.signal();
        let _ = endpoint.recv_with_mrs(reply);
    }
}

/// The first words of the answer.
pub(crate) static ANSWER: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

/// What a measurement of a handler needs.
pub(crate) struct Scene {
    pub(crate) endpoint: cap::Endpoint,
    done: cap::Notification,
    handler: cap::Tcb,
}

impl Scene {
    /// A handler that answers with so many words; passive, or with time of its own.
    pub(crate) fn new(
        kit: &mut Kit,
        space: cap::VSpace,
        length: usize,
        passive: bool,
    ) -> Result<Self> {
        let endpoint = kit.make::<cap_type::Endpoint>()?;
        let done = kit.make::<cap_type::Notification>()?;
        ENDPOINT.store(endpoint.bits(), Relaxed);
        REPLY.store(kit.make::<cap_type::Reply>()?.bits(), Relaxed);
        DONE.store(done.bits(), Relaxed);
        LENGTH.store(length as u64, Relaxed);
        let handler = if passive {
            kit.passive(space, handle)?
        } else {
            let time = kit.time()?;
            let handler = kit.thread(space, priority::SERVER, time, none(), handle)?;
            handler.tcb_resume()?;
            handler
        };
        Ok(Self {
            endpoint,
            done,
            handler,
        })
    }

    /// What lies between two messages, once the thread that faults runs.
    pub(crate) fn finish(&self, name: &str, faulter: cap::Tcb) -> Result<()> {
        _ = self.done.wait();
        faulter.tcb_suspend()?;
        self.handler.tcb_suspend()?;
        let overhead = overhead();
        let mut summary = Summary::new();
        for pair in READINGS.windows(2).skip(1) {
            summary.add(pair[0].load(Relaxed), pair[1].load(Relaxed), overhead);
        }
        row(name, summary);
        Ok(())
    }
}

extern "C" fn touch_nothing() -> ! {
    loop {
        // SAFETY: nothing is mapped there: the instruction never completes.
        unsafe { asm!("mov rax, [{}]", in(reg) 0x7000_0000_0000u64, out("rax") _) };
    }
}

extern "C" fn undefined() -> ! {
    // SAFETY: an exception of this thread, whose handler lets it happen again.
    unsafe { asm!("ud2", options(noreturn)) }
}

/// Faults, and goes on behind the instruction.
extern "C" fn undefined_steps() -> ! {
    for (faulted, resumed) in FAULTED.iter().zip(&RESUMED) {
        faulted.store(clock(), Relaxed);
        // SAFETY: an exception of this thread, whose handler lets it go on behind the instruction.
        unsafe { asm!("ud2") };
        resumed.store(clock(), Relaxed);
    }
    let done: cap::Notification = Cap::from_bits(DONE.load(Relaxed));
    loop {
        done.signal();
    }
}

/// Lets each undefined instruction be: its thread goes on behind it.
extern "C" fn step_over() -> ! {
    let (endpoint, reply): (cap::Endpoint, cap::Reply) = (
        Cap::from_bits(ENDPOINT.load(Relaxed)),
        Cap::from_bits(REPLY.load(Relaxed)),
    );
    let info = MessageInfo::new(0, 0, 0, 1);
    let mut message = endpoint.recv_with_mrs(reply);
    for handled in &HANDLED {
        handled.store(clock(), Relaxed);
        let next = message.msg[0] + UD2_BYTES;
        message = endpoint.reply_recv_with_mrs(info, [next, 0, 0, 0], reply);
    }
    // Nobody faults any more.
    loop {
        let _ = endpoint.recv_with_mrs(reply);
    }
}

extern "C" fn unknown_call() -> ! {
    // SAFETY: a system call the kernel does not know; the handler's answer does it again.
    unsafe {
        asm!(
            "mov edx, 0x7fffffff",
            "2: syscall",
            "jmp 2b",
            options(noreturn)
        )
    }
}

pub(crate) fn measure(kit: &mut Kit) -> Result<()> {
    let here = slot::VSPACE.cap();
    let there = kit.space()?;
    let rows: [(&str, cap::VSpace, bool, extern "C" fn() -> !); 5] = [
        ("vm-fault-same-space", here, true, touch_nothing),
        ("vm-fault", there, true, touch_nothing),
        ("vm-fault-active", here, false, touch_nothing),
        ("undefined", here, true, undefined),
        ("unknown-syscall", here, true, unknown_call),
    ];
    for (name, space, passive, faulter) in rows {
        let scene = Scene::new(kit, space, 0, passive)?;
        let time = kit.time()?;
        let faulter = kit.thread(here, priority::BELOW, time, scene.endpoint, faulter)?;
        faulter.tcb_resume()?;
        scene.finish(name, faulter)?;
    }
    one_way(kit)
}

/// The two ways of a fault: to the handler, and back with the address to go on at.
fn one_way(kit: &mut Kit) -> Result<()> {
    let here = slot::VSPACE.cap();
    let endpoint = kit.make::<cap_type::Endpoint>()?;
    let done = kit.make::<cap_type::Notification>()?;
    ENDPOINT.store(endpoint.bits(), Relaxed);
    REPLY.store(kit.make::<cap_type::Reply>()?.bits(), Relaxed);
    DONE.store(done.bits(), Relaxed);
    let handler = kit.passive(here, step_over)?;
    let time = kit.time()?;
    let faulter = kit.thread(here, priority::BELOW, time, endpoint, undefined_steps)?;
    faulter.tcb_resume()?;
    _ = done.wait();
    faulter.tcb_suspend()?;
    handler.tcb_suspend()?;
    row("undefined-one-way", between(&FAULTED, &HANDLED));
    row("undefined-reply-one-way", between(&HANDLED, &RESUMED));
    Ok(())
}

/// What lies between the readings of two places.
fn between(first: &[AtomicU64; STEPS], last: &[AtomicU64; STEPS]) -> Summary {
    let overhead = overhead();
    let mut summary = Summary::new();
    for (first, last) in first.iter().zip(last).skip(WARM_UP as usize) {
        summary.add(first.load(Relaxed), last.load(Relaxed), overhead);
    }
    summary
}
