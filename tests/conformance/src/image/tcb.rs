//! Threads: registers, buffers, spaces, flags, FPU, segment bases.
#![allow(unsafe_code)] // registers and the FPU

use super::kit::{
    CNODE, GUARD, HIGH, Kit, LOW, TCB, VSPACE, endpoint, info, invoke, notification, received,
    reply, rest,
};
use super::report::{Check, done, ensure, equal, marks, refused};
use super::thread::{COUNTERS, mark, now};
use core::arch::asm;
use core::sync::atomic::Ordering::SeqCst;
use sel4_abi::{fault, label, object};

pub(crate) fn registers_written_are_read_back(t: &mut Kit) -> Check {
    let thread = t.thread(LOW, [0; 6], |_| {})?;
    let mut words = [0; 22];
    words[1] = 20;
    for (n, word) in words[2..].iter_mut().enumerate() {
        *word = 0x1000 + n as u64;
    }
    done!(invoke(thread.tcb, label::TCB_WRITE_REGISTERS, &words, &[]));
    let read = done!(invoke(thread.tcb, label::TCB_READ_REGISTERS, &[0, 20], &[]));
    equal!(read.length, 20);
    for n in 0..20 {
        let wanted = if n == 2 { 0x202 } else { words[2 + n] };
        equal!(read.words[n], wanted);
    }
    equal!(
        done!(invoke(thread.tcb, label::TCB_READ_REGISTERS, &[0, 3], &[])).length,
        3
    );
    // What is beyond the twentieth is not a register.
    let mut words = [0x2000; 23];
    words[1] = 21;
    done!(invoke(thread.tcb, label::TCB_WRITE_REGISTERS, &words, &[]));
    equal!(register(thread.tcb, 19), 0x2000);
    Ok(())
}

pub(crate) fn registers_are_written_made_harmless(t: &mut Kit) -> Check {
    let thread = t.thread(LOW, [0; 6], |_| {})?;
    let mut words = [u64::MAX >> 1; 22];
    words[..2].copy_from_slice(&[0, 20]);
    done!(invoke(thread.tcb, label::TCB_WRITE_REGISTERS, &words, &[]));
    let read = done!(invoke(thread.tcb, label::TCB_READ_REGISTERS, &[0, 20], &[]));
    for n in [0, 18, 19] {
        equal!(read.words[n], 0);
    }
    equal!(read.words[2], 0xed7);
    Ok(())
}

pub(crate) fn register_operations_refuse_in_the_stated_order(t: &mut Kit) -> Check {
    let thread = t.thread(LOW, [0; 6], |_| {})?;
    let read = |tcb, words: &[u64]| invoke(tcb, label::TCB_READ_REGISTERS, words, &[]);
    let write = |tcb, words: &[u64]| invoke(tcb, label::TCB_WRITE_REGISTERS, words, &[]);
    let copy =
        |words: &[u64], caps: &[u64]| invoke(thread.tcb, label::TCB_COPY_REGISTERS, words, caps);
    refused!(read(thread.tcb, &[0]), TruncatedMessage);
    refused!(read(thread.tcb, &[0, 0]), RangeError, 1, 20);
    refused!(read(TCB, &[0, 21]), RangeError, 1, 20);
    refused!(read(TCB, &[0, 1]), IllegalOperation);
    refused!(write(thread.tcb, &[0]), TruncatedMessage);
    refused!(write(TCB, &[0, 2, 1]), TruncatedMessage);
    refused!(write(TCB, &[0, 1, 1]), IllegalOperation);
    refused!(copy(&[], &[TCB]), TruncatedMessage);
    refused!(copy(&[0], &[]), TruncatedMessage);
    refused!(copy(&[0], &[thread.sc]), InvalidCapability, 1);
    refused!(
        invoke(thread.tcb, label::CNODE_COPY, &[], &[]),
        IllegalOperation
    );
    refused!(invoke(thread.tcb, 99, &[], &[]), IllegalOperation);
    Ok(())
}

pub(crate) fn registers_are_copied_in_two_groups(t: &mut Kit) -> Check {
    let (one, two) = (
        t.thread(LOW, [0; 6], |_| {})?,
        t.thread(LOW, [0; 6], |_| {})?,
    );
    let mut words = [7; 22];
    words[..2].copy_from_slice(&[0, 20]);
    done!(invoke(one.tcb, label::TCB_WRITE_REGISTERS, &words, &[]));
    let read = || invoke(two.tcb, label::TCB_READ_REGISTERS, &[0, 20], &[]);
    let before = done!(read());
    done!(invoke(two.tcb, label::TCB_COPY_REGISTERS, &[8], &[one.tcb]));
    let after = done!(read());
    equal!(after.words[0], before.words[0]);
    equal!(after.words[18], 7);
    done!(invoke(two.tcb, label::TCB_COPY_REGISTERS, &[4], &[one.tcb]));
    let after = done!(read());
    equal!(after.words[0], 7);
    equal!(after.words[17], 7);
    Ok(())
}

pub(crate) fn a_copy_may_suspend_its_source_and_resume_its_target(t: &mut Kit) -> Check {
    let one = t.active(HIGH, [1, 0, 0, 0, 0, 0], |args| mark(args[0]))?;
    let two = t.active(LOW, [2, 0, 0, 0, 0, 0], |args| mark(args[0]))?;
    t.resume(two)?;
    done!(invoke(one.tcb, label::TCB_COPY_REGISTERS, &[3], &[two.tcb]));
    rest();
    marks!(1);
    Ok(())
}

pub(crate) fn a_suspended_thread_goes_on_where_it_was(t: &mut Kit) -> Check {
    let ntfn = t.ntfn()?;
    let thread = t.spawn(LOW, [ntfn, 0, 0, 0, 0, 0], |args| {
        mark(1);
        mark(notification(args[0]).wait().1);
    })?;
    rest();
    marks!(1);
    t.suspend(thread)?;
    let badged = t.mint(ntfn, 15, 9)?;
    notification(badged).signal();
    rest();
    marks!();
    t.resume(thread)?;
    rest();
    marks!(9);
    Ok(())
}

pub(crate) fn a_thread_that_suspends_itself_does_so_again_when_resumed(t: &mut Kit) -> Check {
    let thread = t.spawn(HIGH, [0; 6], |_| mark(1))?;
    marks!(1);
    // Its job is done, and it suspended itself.
    t.resume(thread)?;
    rest();
    marks!();
    Ok(())
}

pub(crate) fn resuming_a_running_thread_does_nothing(t: &mut Kit) -> Check {
    done!(invoke(TCB, label::TCB_RESUME, &[], &[]));
    t.spawn(LOW, [1, 0, 0, 0, 0, 0], |args| mark(args[0]))?;
    marks!();
    Ok(())
}

pub(crate) fn configuring_refuses_what_does_not_fit(t: &mut Kit) -> Check {
    let (tcb, frame, space) = (
        t.make(object::TCB, 0)?,
        t.make(object::X86_4K, 0)?,
        t.make(object::X64_PML4, 0)?,
    );
    let ask = |words: &[u64], caps: &[u64]| invoke(tcb, label::TCB_CONFIGURE, words, caps);
    let good = [CNODE, VSPACE, frame];
    refused!(ask(&[GUARD, 0], &good), TruncatedMessage);
    refused!(ask(&[GUARD, 0, 1024], &good[..2]), TruncatedMessage);
    refused!(
        ask(&[GUARD, 0, 1024], &[CNODE, VSPACE, tcb]),
        IllegalOperation
    );
    refused!(ask(&[GUARD, 0, 1032], &good), AlignmentError);
    refused!(
        ask(&[GUARD, 0, 1024], &[tcb, VSPACE, frame]),
        IllegalOperation
    );
    refused!(
        ask(&[GUARD, 0, 1024], &[CNODE, frame, frame]),
        IllegalOperation
    );
    // An address space without number.
    refused!(
        ask(&[GUARD, 0, 1024], &[CNODE, space, frame]),
        IllegalOperation
    );
    done!(ask(&[GUARD, 0, 1024], &good));
    done!(ask(&[GUARD, 0, 0], &good));
    let set = |words: &[u64], caps: &[u64]| invoke(tcb, label::TCB_SET_IPC_BUFFER, words, caps);
    refused!(set(&[1024], &[]), TruncatedMessage);
    refused!(set(&[1024], &[tcb]), IllegalOperation);
    refused!(set(&[1025], &[frame]), AlignmentError);
    done!(set(&[2048], &[frame]));
    Ok(())
}

pub(crate) fn a_fault_handler_needs_send_and_a_grant_right(t: &mut Kit) -> Check {
    let (tcb, ep, ntfn) = (t.make(object::TCB, 0)?, t.ep()?, t.ntfn()?);
    let empty = t.slot();
    let space = |handler| {
        invoke(
            tcb,
            label::TCB_SET_SPACE,
            &[GUARD, 0],
            &[handler, CNODE, VSPACE],
        )
    };
    let timeout = |handler| invoke(tcb, label::TCB_SET_TIMEOUT_ENDPOINT, &[], &[handler]);
    for rights in [2, 1, 14] {
        let weak = t.copy(ep, rights)?;
        refused!(space(weak), InvalidCapability, 1);
        refused!(timeout(weak), InvalidCapability, 1);
    }
    refused!(space(ntfn), InvalidCapability, 1);
    refused!(timeout(ntfn), InvalidCapability, 1);
    for rights in [5, 9, 15] {
        let good = t.copy(ep, rights)?;
        done!(space(good));
        done!(timeout(good));
    }
    done!(space(empty));
    done!(timeout(empty));
    Ok(())
}

pub(crate) fn the_tls_base_is_set_by_the_thread_and_by_others(t: &mut Kit) -> Check {
    let (own, ntfn) = (0x1234_5000u64, t.ntfn()?);
    let thread = t.spawn(HIGH, [ntfn, 0, 0, 0, 0, 0], |args| {
        notification(args[0]).wait();
    })?;
    let read = |n: usize| invoke(thread.tcb, label::TCB_READ_REGISTERS, &[0, 20], &[]).words[n];
    done!(invoke(thread.tcb, label::TCB_SET_TLS_BASE, &[own], &[]));
    equal!(read(18), own);
    refused!(
        invoke(thread.tcb, label::TCB_SET_TLS_BASE, &[], &[]),
        TruncatedMessage
    );
    done!(invoke(thread.tcb, label::TCB_SET_TLS_BASE, &[1 << 60], &[]));
    equal!(read(18), 0);
    Ok(())
}

pub(crate) fn each_thread_has_segment_bases_of_its_own(t: &mut Kit) -> Check {
    for n in [1u64, 2] {
        t.spawn(LOW, [n, 0, 0, 0, 0, 0], |_| {
            // The thread block holds its own address at the FS base: word 0.
            let before: u64;
            // SAFETY: reads the thread's own block.
            unsafe { asm!("mov {}, fs:[0]", out(reg) before) };
            for _ in 0..3 {
                sel4::r#yield();
                let after: u64;
                // SAFETY: as above.
                unsafe { asm!("mov {}, fs:[0]", out(reg) after) };
                mark(u64::from(before == after));
            }
        })?;
    }
    rest();
    marks!(1, 1, 1, 1, 1, 1);
    Ok(())
}

fn computes(args: [u64; 6]) {
    for n in 0..4 {
        let (x87, sse): (u64, u64);
        let (value, mut memory) = (args[0] + n, 0u64);
        // SAFETY: the compiler uses neither x87 nor SSE registers in this program; others run in between.
        unsafe {
            asm!("movq xmm5, {0}", "push {0}", "fild qword ptr [rsp]", "pop {0}", in(reg) value);
        }
        sel4::r#yield();
        // SAFETY: as above.
        unsafe {
            asm!("movq {}, xmm5", out(reg) sse);
            asm!("fistp qword ptr [{}]", in(reg) &raw mut memory);
        }
        x87 = memory;
        mark(u64::from(sse == value && x87 == value));
    }
}

pub(crate) fn each_thread_has_an_fpu_of_its_own(t: &mut Kit) -> Check {
    for n in 1..=3 {
        t.spawn(LOW, [n * 1000, 0, 0, 0, 0, 0], computes)?;
    }
    rest();
    marks!(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1);
    Ok(())
}

/// Computes in both register files until so many ticks are over, whoever runs in between.
/// Counter 0 is the one who computed last, counter 1 counts how often that was somebody else.
fn computes_on(args: [u64; 6]) {
    let (value, end, mut sum) = (args[0], now() + args[1], 0u64);
    // SAFETY: the compiler uses neither x87 nor SSE registers in this program.
    unsafe {
        asm!("pxor xmm5, xmm5", "movq xmm6, {}", "fldz", in(reg) value);
    }
    while now() < end {
        sum += value;
        // SAFETY: as above; the stack has one x87 value between two rounds.
        unsafe {
            asm!("paddq xmm5, xmm6", "push {0}", "fild qword ptr [rsp]", "faddp", "pop {0}", in(reg) value);
        }
        if COUNTERS[0].swap(value, SeqCst) != value {
            COUNTERS[1].fetch_add(1, SeqCst);
        }
    }
    let sse: u64;
    let mut x87 = 0u64;
    // SAFETY: as above.
    unsafe {
        asm!("movq {}, xmm5", out(reg) sse);
        asm!("fistp qword ptr [{}]", in(reg) &raw mut x87);
    }
    mark(u64::from(sse == sum && x87 == sum));
}

pub(crate) fn threads_preempted_while_they_compute_keep_their_results(t: &mut Kit) -> Check {
    let ticks = 20_000 * t.mhz();
    for value in 1..=4 {
        let thread = t.thread(LOW, [value, ticks, 0, 0, 0, 0], computes_on)?;
        t.configure(thread.sc, 1000, 1000, 0, 0, 0)?;
        t.bind(thread.sc, thread.tcb)?;
        t.resume(thread)?;
    }
    rest();
    marks!(1, 1, 1, 1);
    ensure!(COUNTERS[1].load(SeqCst) >= 12);
    Ok(())
}

pub(crate) fn a_fresh_threads_fpu_is_clean(t: &mut Kit) -> Check {
    t.spawn(HIGH, [5, 0, 0, 0, 0, 0], computes)?;
    let _ = super::thread::take_marks();
    t.spawn(HIGH, [0; 6], |_| {
        let (mut control, mut mxcsr) = (0u16, 0u32);
        let xmm: u64;
        // SAFETY: as in `computes`.
        unsafe {
            asm!("movq {}, xmm5", out(reg) xmm);
            asm!("fnstcw [{}]", in(reg) &raw mut control);
            asm!("stmxcsr [{}]", in(reg) &raw mut mxcsr);
        }
        mark(xmm);
        mark(control.into());
        mark(mxcsr.into());
    })?;
    marks!(0, 0x37f, 0x1f80);
    Ok(())
}

pub(crate) fn the_fpu_flag_makes_its_use_exception_7(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    let thread = t.active(LOW, [1, 0, 0, 0, 0, 0], computes)?;
    t.set_handler(thread, ep)?;
    let flags = |clear, set| invoke(thread.tcb, label::TCB_SET_FLAGS, &[clear, set], &[]);
    equal!(done!(flags(0, 0)).words[0], 0);
    equal!(done!(flags(0, u64::MAX)).words[0], 1);
    refused!(
        invoke(thread.tcb, label::TCB_SET_FLAGS, &[0], &[]),
        TruncatedMessage
    );
    t.resume(thread)?;
    let message = received(endpoint(ep).recv(reply(object)).0);
    equal!(message.label, fault::USER_EXCEPTION);
    equal!(message.words[3], 7);
    equal!(done!(flags(1, 0)).words[0], 0);
    reply(object).reply_with_mrs(info(0, 0), []);
    rest();
    marks!(1, 1, 1, 1);
    Ok(())
}

pub(crate) fn deleting_a_thread_that_waits_takes_it_out_of_the_queue(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    let thread = t.spawn(HIGH, [ep, 0, 0, 0, 0, 0], |args| {
        endpoint(args[0]).send_with_mrs(info(0, 0), []);
    })?;
    super::kit::delete(thread.tcb)?;
    ensure!(super::kit::is_silent(ep, object));
    Ok(())
}

pub(crate) fn a_thread_that_deletes_itself_is_gone(t: &mut Kit) -> Check {
    let thread = t.active(HIGH, [0; 6], |_| {
        mark(1);
        let _ = super::kit::delete(COUNTERS[0].load(SeqCst));
        mark(2);
    })?;
    COUNTERS[0].store(thread.tcb, SeqCst);
    t.resume(thread)?;
    marks!(1);
    ensure!(super::kit::is_empty(thread.tcb));
    Ok(())
}

fn register(tcb: u64, n: usize) -> u64 {
    invoke(tcb, label::TCB_READ_REGISTERS, &[0, 20], &[]).words[n]
}

pub(crate) fn reading_registers_may_suspend(t: &mut Kit) -> Check {
    let thread = t.spawn(LOW, [1, 0, 0, 0, 0, 0], |args| mark(args[0]))?;
    done!(invoke(thread.tcb, label::TCB_READ_REGISTERS, &[1, 1], &[]));
    rest();
    marks!();
    t.resume(thread)?;
    rest();
    marks!(1);
    Ok(())
}

pub(crate) fn spaces_are_refused_in_the_stated_order(t: &mut Kit) -> Check {
    let (tcb, table) = (t.make(object::TCB, 0)?, t.make(object::CAP_TABLE, 4)?);
    let set = |words: &[u64], caps: &[u64]| invoke(tcb, label::TCB_SET_SPACE, words, caps);
    refused!(set(&[0], &[0, CNODE, VSPACE]), TruncatedMessage);
    refused!(set(&[0, 0], &[0, CNODE]), TruncatedMessage);
    // Each alone; then the handler, which is looked at last.
    refused!(set(&[0, 0], &[0, VSPACE, VSPACE]), IllegalOperation);
    refused!(set(&[0, 0], &[0, table, table]), IllegalOperation);
    refused!(set(&[61, 0], &[0, table, VSPACE]), IllegalOperation);
    refused!(set(&[0, 0], &[tcb, table, table]), IllegalOperation);
    refused!(set(&[0, 0], &[tcb, table, VSPACE]), InvalidCapability, 1);
    done!(set(&[60, 0], &[0, table, VSPACE]));
    Ok(())
}
