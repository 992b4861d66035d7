//! Longer sequences, as whole systems go through them.
#![allow(unsafe_code)] // the system-call instruction with chosen registers, segment bases

use super::kit::{
    CNODE, HIGH, Kit, LOW, Thread, cnode, delete, endpoint, info, invoke, notification, reply,
    rest, retype, revoke,
};
use super::report::{Check, done, ensure, equal, marks, refused};
use super::thread::{COUNTERS, count_for_ever, mark};
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use sel4_abi::message::MessageInfo;
use sel4_abi::{label, object, syscall};

/// Places of registers in the array that [`enter`] takes.
const RDX: usize = 2;
const RSI: usize = 3;
const RDI: usize = 4;
const R12: usize = 9;
const R13: usize = 10;

/// SYSCALL with all registers that a thread can choose (rax, rbx, rdx, rsi, rdi, rbp, r8 to r10, r12 to r15), and what they
/// are afterwards.
fn enter(mut registers: [u64; 13]) -> [u64; 13] {
    // SAFETY: the calls made below write no memory; all registers they may change are outputs or brought back.
    unsafe {
        asm!(
            "push rbx", "push rbp", "push rcx",
            "mov rax, [rcx]", "mov rbx, [rcx + 8]", "mov rdx, [rcx + 16]", "mov rsi, [rcx + 24]",
            "mov rdi, [rcx + 32]", "mov rbp, [rcx + 40]", "mov r8, [rcx + 48]", "mov r9, [rcx + 56]",
            "mov r10, [rcx + 64]", "mov r12, [rcx + 72]", "mov r13, [rcx + 80]", "mov r14, [rcx + 88]",
            "mov r15, [rcx + 96]",
            "syscall",
            "pop rcx",
            "mov [rcx], rax", "mov [rcx + 8], rbx", "mov [rcx + 16], rdx", "mov [rcx + 24], rsi",
            "mov [rcx + 32], rdi", "mov [rcx + 40], rbp", "mov [rcx + 48], r8", "mov [rcx + 56], r9",
            "mov [rcx + 64], r10", "mov [rcx + 72], r12", "mov [rcx + 80], r13", "mov [rcx + 88], r14",
            "mov [rcx + 96], r15",
            "pop rbp", "pop rbx",
            inout("rcx") registers.as_mut_ptr() => _,
            out("rax") _, out("rdx") _, out("rsi") _, out("rdi") _, out("r8") _, out("r9") _,
            out("r10") _, out("r11") _, out("r12") _, out("r13") _, out("r14") _, out("r15") _,
        );
    }
    registers
}

/// Registers with a pattern, but for these.
fn chosen(given: &[(usize, u64)]) -> [u64; 13] {
    let mut registers = core::array::from_fn(|n| 0xdead_beef_0000_0000 + n as u64);
    registers[RSI] = 0;
    given.iter().for_each(|&(n, value)| registers[n] = value);
    registers
}

/// The running thread's FS base: its block begins with its own address.
fn own_base() -> u64 {
    let base;
    // SAFETY: reads the thread's own block.
    unsafe { asm!("mov {}, fs:[0]", out(reg) base) };
    base
}

pub(crate) fn every_system_call_keeps_the_registers_it_does_not_answer_in(t: &mut Kit) -> Check {
    let ntfn = t.ntfn()?;
    // Number, rdi, r12, r13; whether the badge is written.
    let calls = [
        (syscall::YIELD, 0, 0, 0, false),
        (syscall::SEND, CNODE, 0, 0, false),
        (syscall::NB_SEND, CNODE, 0, 0, false),
        (syscall::SEND, ntfn, 0, 0, false),
        (syscall::NB_SEND, ntfn, 0, 0, false),
        (syscall::SET_TLS_BASE, own_base(), 0, 0, false),
        (syscall::RECV, ntfn, 0, 0, true),
        (syscall::NB_RECV, ntfn, 0, 0, true),
        (syscall::WAIT, ntfn, 0, 0, true),
        (syscall::NB_WAIT, ntfn, 0, 0, true),
        (syscall::REPLY_RECV, ntfn, 0, 0, true),
        (syscall::NB_SEND_RECV, ntfn, 0, CNODE, true),
        (syscall::NB_SEND_WAIT, ntfn, CNODE, 0, true),
        (syscall::DEBUG_CAP_IDENTIFY, ntfn, 0, 0, true),
    ];
    for (number, rdi, r12, r13, answers) in calls {
        for _ in 0..10 {
            notification(ntfn).signal();
            let given = [(RDX, number as u64), (RDI, rdi), (R12, r12), (R13, r13)];
            let before = chosen(&given);
            let after = enter(before);
            for n in (0..13).filter(|&n| !(answers && n == RDI)) {
                equal!(after[n], before[n]);
            }
        }
    }
    // An error without words answers in rdi and rsi.
    for _ in 0..10 {
        let before = chosen(&[(RDX, syscall::CALL as u64), (RDI, CNODE)]);
        let after = enter(before);
        equal!(
            MessageInfo::from_word(after[RSI]).label(),
            sel4::Error::IllegalOperation as u64
        );
        equal!(after[RDI], 0);
        for n in (0..13).filter(|&n| n != RSI && n != RDI) {
            equal!(after[n], before[n]);
        }
    }
    Ok(())
}

pub(crate) fn a_thread_sets_its_own_tls_base_by_its_capability(t: &mut Kit) -> Check {
    static WORD: AtomicU64 = AtomicU64::new(0x77);
    // Where it finds its capability, which is stored before it runs.
    static TCB: AtomicU64 = AtomicU64::new(0);
    let thread = t.active(HIGH, [0; 6], |_| {
        let (base, tcb) = (own_base(), TCB.load(SeqCst));
        let info = MessageInfo::new(label::TCB_SET_TLS_BASE, 0, 0, 1).word();
        let found: u64;
        // SAFETY: two calls of the thread's own capability; in between nothing uses the thread block.
        unsafe {
            asm!(
                "syscall",
                "mov {found}, fs:[0]",
                "mov rdi, {tcb}",
                "mov rsi, {info}",
                "mov r10, {base}",
                "syscall",
                found = out(reg) found,
                tcb = in(reg) tcb,
                info = in(reg) info,
                base = in(reg) base,
                in("rdx") syscall::CALL,
                inout("rdi") tcb => _,
                inout("rsi") info => _,
                inout("r10") WORD.as_ptr() => _,
                out("rcx") _, out("r8") _, out("r9") _, out("r11") _, out("r15") _,
            );
        }
        mark(found);
        mark(u64::from(own_base() == base));
    })?;
    TCB.store(thread.tcb, SeqCst);
    t.resume(thread)?;
    marks!(0x77, 1);
    Ok(())
}

/// Runs whoever is ready for so many microseconds, also if they never stop.
fn let_run(t: &mut Kit, microseconds: u64) -> Check {
    let wake = t.ntfn()?;
    let alarm = t.thread(HIGH, [wake, 0, 0, 0, 0, 0], |args| {
        sel4::r#yield();
        notification(args[0]).signal();
    })?;
    t.configure(alarm.sc, 100, microseconds, 0, 0, 0)?;
    t.bind(alarm.sc, alarm.tcb)?;
    t.resume(alarm)?;
    notification(wake).wait();
    Ok(())
}

pub(crate) fn a_higher_thread_runs_in_the_middle_of_a_long_revocation(t: &mut Kit) -> Check {
    let (ep, table) = (t.ep()?, t.make(object::CAP_TABLE, 12)?);
    for n in 0..4096 {
        let words = [n, 12, ep, 64, 15, 1 + n % 7];
        done!(invoke(table, label::CNODE_MINT, &words, &[CNODE]));
    }
    let higher = t.thread(HIGH, [0; 6], |_| {
        loop {
            COUNTERS[0].fetch_add(1, SeqCst);
            sel4::r#yield();
        }
    })?;
    t.configure(higher.sc, 50, 200, 0, 0, 0)?;
    t.bind(higher.sc, higher.tcb)?;
    t.resume(higher)?;
    let before = COUNTERS[0].load(SeqCst);
    revoke(ep)?;
    let after = COUNTERS[0].load(SeqCst);
    t.suspend(higher)?;
    // It ran more than once, and the revocation is whole none the less.
    ensure!(after >= before + 2);
    for n in [0, 1000, 4095] {
        refused!(
            cnode(label::CNODE_MOVE, ep + 1000, &[n, 12], &[table]),
            FailedLookup,
            1,
            2,
            12
        );
    }
    Ok(())
}

pub(crate) fn a_deleted_yielder_leaves_the_thread_it_yielded_to(t: &mut Kit) -> Check {
    let target = t.spawn(LOW, [0; 6], |_| count_for_ever(0))?;
    let yielder = t.spawn(LOW, [target.sc, 0, 0, 0, 0, 0], |args| {
        let _ = invoke(args[0], label::SCHED_CONTEXT_YIELD_TO, &[], &[]);
        mark(1);
    })?;
    // Less than the target's budget: the yielder waits for its answer.
    let_run(t, 2000)?;
    ensure!(COUNTERS[0].load(SeqCst) > 0);
    delete(yielder.tcb)?;
    let before = COUNTERS[0].load(SeqCst);
    let_run(t, 10_000)?;
    ensure!(COUNTERS[0].load(SeqCst) > before);
    marks!();
    let answer = done!(invoke(target.sc, label::SCHED_CONTEXT_CONSUMED, &[], &[]));
    ensure!(answer.words[0] > 0);
    t.suspend(target)
}

/// Lets a thread that was stopped in a system call go on behind it.
fn skip(thread: Thread) -> Check {
    let mut words = [0; 22];
    let read = done!(invoke(thread.tcb, label::TCB_READ_REGISTERS, &[0, 20], &[]));
    words[..2].copy_from_slice(&[1, 20]);
    words[2..].copy_from_slice(&read.words[..20]);
    words[2] += 2;
    done!(invoke(thread.tcb, label::TCB_WRITE_REGISTERS, &words, &[]));
    Ok(())
}

pub(crate) fn callers_under_a_deleted_context_go_on_behind_their_calls_with_another(
    t: &mut Kit,
) -> Check {
    let (outer, inner, lower, upper) = (t.ep()?, t.ep()?, t.reply()?, t.reply()?);
    let server = t.spawn(HIGH, [inner, upper, 0, 0, 0, 0], |args| {
        let _ = endpoint(args[0]).recv_with_mrs(reply(args[1]));
        count_for_ever(0);
    })?;
    let proxy = t.spawn(HIGH, [outer, lower, inner, 0, 0, 0], |args| {
        let _ = endpoint(args[0]).recv_with_mrs(reply(args[1]));
        let _ = endpoint(args[2]).call_with_mrs(info(0, 0), []);
        mark(2);
    })?;
    t.unbind(server.sc)?;
    t.unbind(proxy.sc)?;
    let client = t.active(LOW, [outer, 0, 0, 0, 0, 0], |args| {
        let _ = endpoint(args[0]).call_with_mrs(info(0, 0), []);
        mark(3);
    })?;
    for thread in [server, proxy] {
        done!(invoke(
            thread.tcb,
            label::TCB_SET_PRIORITY,
            &[LOW],
            &[super::kit::TCB]
        ));
    }
    t.resume(client)?;
    let_run(t, 2000)?;
    ensure!(COUNTERS[0].load(SeqCst) > 0);
    // Without the context the server stops, and nobody goes on.
    delete(client.sc)?;
    let before = COUNTERS[0].load(SeqCst);
    rest();
    equal!(COUNTERS[0].load(SeqCst), before);
    delete(upper)?;
    rest();
    marks!();
    // The proxy is stopped now: it takes a context without parameters, and runs when that has some.
    let sc = t.sc()?;
    t.bind(sc, proxy.tcb)?;
    t.configure(sc, 5_000_000, 5_000_000, 0, 0, 0)?;
    skip(proxy)?;
    rest();
    marks!(2);
    // The client still waits for its answer: it takes one that is ready.
    let unbind = label::SCHED_CONTEXT_UNBIND_OBJECT;
    done!(invoke(sc, unbind, &[], &[proxy.tcb]));
    t.bind(sc, client.tcb)?;
    skip(client)?;
    rest();
    marks!(3);
    Ok(())
}

pub(crate) fn memory_lent_as_a_copy_and_taken_back_is_lent_again(t: &mut Kit) -> Check {
    let memory = t.make(object::UNTYPED, 16)?;
    let (lent, made) = (t.slot(), t.slots(4));
    for _ in 0..3 {
        done!(cnode(label::CNODE_COPY, lent, &[memory, 64, 15], &[CNODE]));
        // All of it is the copy's.
        refused!(
            retype(memory, object::ENDPOINT, 0, made),
            NotEnoughMemory,
            0
        );
        for n in 0..4 {
            done!(retype(lent, object::CAP_TABLE, 9, made + n));
        }
        refused!(
            cnode(label::CNODE_COPY, t.slot(), &[lent, 64, 15], &[CNODE]),
            RevokeFirst
        );
        revoke(memory)?;
        for slot in [lent, made, made + 3] {
            equal!(super::kit::kind(slot), 0);
        }
    }
    done!(retype(memory, object::CAP_TABLE, 11, made));
    Ok(())
}
