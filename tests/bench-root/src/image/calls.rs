//! System calls that move a message, a signal or nothing.

#![allow(unsafe_code)] // an instruction of the FPU

use super::{
    kit::{Kit, none},
    priority,
    report::{ROUNDS, WARM_UP, clock, overhead, repeat, row},
};
use bench_root::Summary;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use sel4::{Cap, MessageInfo, Result, cap, cap_type, init_thread::slot};

/// What the other thread is to use, and when it came to run.
static ENDPOINT: AtomicU64 = AtomicU64::new(0);
static REPLY: AtomicU64 = AtomicU64::new(0);
static PING: AtomicU64 = AtomicU64::new(0);
static PONG: AtomicU64 = AtomicU64::new(0);
static LENGTH: AtomicU64 = AtomicU64::new(0);
static STAMP: AtomicU64 = AtomicU64::new(0);

fn named<T: sel4::CapType>(place: &AtomicU64) -> Cap<T> {
    Cap::from_bits(place.load(Relaxed))
}

fn message(length: usize) -> MessageInfo {
    MessageInfo::new(0, 0, 0, length)
}

/// Answers every call with a message as long as [`LENGTH`] says.
extern "C" fn answer() -> ! {
    let (endpoint, reply): (cap::Endpoint, cap::Reply) = (named(&ENDPOINT), named(&REPLY));
    let info = message(LENGTH.load(Relaxed) as usize);
    let _ = endpoint.recv_with_mrs(reply);
    loop {
        let _ = endpoint.reply_recv_with_mrs(info, [0; 4], reply);
    }
}

/// Answers every call as [`answer`] does, and notes when it came; with the FPU's registers loaded before.
extern "C" fn answer_noted<const FPU: bool>() -> ! {
    let (endpoint, reply): (cap::Endpoint, cap::Reply) = (named(&ENDPOINT), named(&REPLY));
    let info = message(LENGTH.load(Relaxed) as usize);
    let _ = endpoint.recv_with_mrs(reply);
    loop {
        if FPU {
            use_fpu();
        }
        STAMP.store(clock(), Relaxed);
        let _ = endpoint.reply_recv_with_mrs(info, [0; 4], reply);
    }
}

/// Needs the FPU, and changes nothing in it.
#[inline(always)]
fn use_fpu() {
    // SAFETY: the register keeps its value.
    unsafe {
        asm!(
            "movaps xmm0, xmm0",
            options(nomem, nostack, preserves_flags)
        )
    };
}

/// Receives, and notes when.
extern "C" fn receive() -> ! {
    let (endpoint, reply): (cap::Endpoint, cap::Reply) = (named(&ENDPOINT), named(&REPLY));
    loop {
        let _ = endpoint.recv_with_mrs(reply);
        STAMP.store(clock(), Relaxed);
    }
}

/// Waits, and notes when it is over.
extern "C" fn wait() -> ! {
    let ping: cap::Notification = named(&PING);
    loop {
        let _ = ping.wait();
        STAMP.store(clock(), Relaxed);
    }
}

/// Waits, and signals back.
extern "C" fn echo() -> ! {
    let (ping, pong): (cap::Notification, cap::Notification) = (named(&PING), named(&PONG));
    loop {
        let _ = ping.wait();
        pong.signal();
    }
}

/// Gives its turn up again and again.
extern "C" fn peer() -> ! {
    loop {
        sel4::r#yield();
    }
}

/// The time from a call of this thread to the other's stamp.
fn one_way(mut operation: impl FnMut()) -> Summary {
    let overhead = overhead();
    let mut summary = Summary::new();
    for _ in 0..ROUNDS {
        let first = clock();
        operation();
        summary.add(first, STAMP.load(Relaxed), overhead);
    }
    summary
}

pub(crate) fn measure(kit: &mut Kit) -> Result<()> {
    simple(kit)?;
    calls(kit)?;
    one_way_messages(kit)?;
    switches(kit)
}

fn simple(kit: &mut Kit) -> Result<()> {
    let notification = kit.make::<cap_type::Notification>()?;
    let endpoint = kit.make::<cap_type::Endpoint>()?;
    row("poll", repeat(|| _ = notification.poll()));
    row("yield", repeat(sel4::r#yield));
    row("signal", repeat(|| notification.signal()));
    row(
        "nb-send",
        repeat(|| endpoint.nb_send_with_mrs(message(0), [])),
    );
    Ok(())
}

fn calls(kit: &mut Kit) -> Result<()> {
    let here = slot::VSPACE.cap();
    let there = kit.space()?;
    let rows = [
        ("call-same-space", here, 0),
        ("call", there, 0),
        ("call-4-words", there, 4),
    ];
    for (name, space, length) in rows {
        let server = server(kit, space, length, answer)?;
        let endpoint: cap::Endpoint = named(&ENDPOINT);
        let info = message(length);
        let round = || _ = endpoint.call_with_mrs(info, [0; 4]);
        row(name, repeat(round));
        server.tcb_suspend()?;
    }
    long_call(kit, there)?;
    calls_one_way(kit, here, there)
}

/// Ten words, which go by the IPC buffers.
fn long_call(kit: &mut Kit, space: cap::VSpace) -> Result<()> {
    const WORDS: usize = 10;
    let server = server(kit, space, WORDS, answer)?;
    let endpoint: cap::Endpoint = named(&ENDPOINT);
    buffer(kit, server)?;
    let round = || _ = endpoint.call_with_mrs(message(WORDS), [0; 4]);
    row("call-10-words", repeat(round));
    server.tcb_suspend()
}

/// A buffer for a server, in this program's space only: the kernel writes to the frame.
fn buffer(kit: &mut Kit, server: cap::Tcb) -> Result<()> {
    let shown = kit.show()?;
    server.tcb_set_ipc_buffer(shown.address() as u64, shown.frame)
}

/// The two ways of a call: from the caller to the server, and from the server's answer to the caller.
fn calls_one_way(kit: &mut Kit, here: cap::VSpace, there: cap::VSpace) -> Result<()> {
    let rows = [
        (
            "call-one-way-same-space",
            "reply-one-way-same-space",
            here,
            0,
        ),
        ("call-one-way", "reply-one-way", there, 0),
        ("call-one-way-10-words", "reply-one-way-10-words", there, 10),
    ];
    for (call, reply, space, length) in rows {
        let server = server(kit, space, length, answer_noted::<false>)?;
        buffer(kit, server)?;
        both_ways(call, reply, length, || {});
        server.tcb_suspend()?;
    }
    // The caller keeps the FPU while the server does without, or each takes it from the other.
    let alone = server(kit, there, 0, answer_noted::<false>)?;
    both_ways(
        "call-one-way-fpu-kept",
        "reply-one-way-fpu-kept",
        0,
        use_fpu,
    );
    alone.tcb_suspend()?;
    let both = server(kit, there, 0, answer_noted::<true>)?;
    both_ways("call-one-way-fpu", "reply-one-way-fpu", 0, use_fpu);
    both.tcb_suspend()
}

/// Calls the server again and again; `after` belongs to the answer's way.
#[inline(always)]
fn both_ways(call: &str, reply: &str, length: usize, after: impl Fn()) {
    let endpoint: cap::Endpoint = named(&ENDPOINT);
    let info = message(length);
    let overhead = overhead();
    let (mut there, mut back) = (Summary::new(), Summary::new());
    for n in 0..WARM_UP + ROUNDS {
        let first = clock();
        _ = endpoint.call_with_mrs(info, [0; 4]);
        after();
        let last = clock();
        if n >= WARM_UP {
            let arrived = STAMP.load(Relaxed);
            there.add(first, arrived, overhead);
            back.add(arrived, last, overhead);
        }
    }
    row(call, there);
    row(reply, back);
}

fn server(
    kit: &mut Kit,
    space: cap::VSpace,
    length: usize,
    entry: extern "C" fn() -> !,
) -> Result<cap::Tcb> {
    ENDPOINT.store(kit.make::<cap_type::Endpoint>()?.bits(), Relaxed);
    REPLY.store(kit.make::<cap_type::Reply>()?.bits(), Relaxed);
    LENGTH.store(length as u64, Relaxed);
    kit.passive(space, entry)
}

fn one_way_messages(kit: &mut Kit) -> Result<()> {
    let here = slot::VSPACE.cap();
    let endpoint = kit.make::<cap_type::Endpoint>()?;
    let notification = kit.make::<cap_type::Notification>()?;
    ENDPOINT.store(endpoint.bits(), Relaxed);
    REPLY.store(kit.make::<cap_type::Reply>()?.bits(), Relaxed);
    PING.store(notification.bits(), Relaxed);
    let space = kit.space()?;
    let time = kit.time()?;
    let receiver = kit.thread(space, priority::SERVER, time, none(), receive)?;
    receiver.tcb_resume()?;
    row(
        "send-higher",
        one_way(|| endpoint.send_with_mrs(message(0), [])),
    );
    receiver.tcb_suspend()?;
    let time = kit.time()?;
    let waiter = kit.thread(here, priority::SERVER, time, none(), wait)?;
    waiter.tcb_resume()?;
    row("signal-higher", one_way(|| notification.signal()));
    waiter.tcb_suspend()?;
    let time = kit.time()?;
    let waiter = kit.thread(here, priority::MAIN, time, none(), wait)?;
    waiter.tcb_resume()?;
    sel4::r#yield();
    waiter.tcb_set_priority(slot::TCB.cap(), priority::BELOW)?;
    // The waiter stays below and wakes once; the others find it ready or running.
    let overhead = overhead();
    let first = clock();
    notification.signal();
    let last = clock();
    let mut summary = Summary::new();
    summary.add(first, last, overhead);
    row("signal-lower", summary);
    waiter.tcb_suspend()
}

fn switches(kit: &mut Kit) -> Result<()> {
    let here = slot::VSPACE.cap();
    let (ping, pong) = (
        kit.make::<cap_type::Notification>()?,
        kit.make::<cap_type::Notification>()?,
    );
    PING.store(ping.bits(), Relaxed);
    PONG.store(pong.bits(), Relaxed);
    let time = kit.time()?;
    let other = kit.thread(here, priority::MAIN, time, none(), echo)?;
    other.tcb_resume()?;
    sel4::r#yield();
    let round = || {
        ping.signal();
        _ = pong.wait();
    };
    row("signal-wait", repeat(round));
    other.tcb_suspend()?;
    let time = kit.time()?;
    let other = kit.thread(here, priority::MAIN, time, none(), peer)?;
    other.tcb_resume()?;
    row("yield-peer", repeat(sel4::r#yield));
    other.tcb_suspend()
}
