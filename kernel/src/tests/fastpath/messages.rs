//! What long messages and the registers of an unknown system call bring, the short way and the long one.

use super::scene::Scene;
use super::{UNKNOWN, compare_until, compared_so_far};
use crate::object::tcb::slots;
use crate::tests::world::SYSCALL_AT;
use sel4_abi::{Rights, fault, syscall};

type Buffers = (&'static str, bool, fn(&Scene));

/// What becomes of the buffers before a long message is sent, and whether its words arrive all the same.
const BUFFERS: &[Buffers] = &[
    ("both have one", true, |_| {}),
    ("the sender has none", false, |s| s.client.tcb.buffer.set(0)),
    ("the receiver has none", false, |s| {
        s.server.tcb.buffer.set(0)
    }),
    ("the receiver may only read its own", false, |s| {
        let slot = &s.server.tcb.slots[slots::BUFFER];
        slot.set_cap(slot.cap().masked(Rights::new(Rights::READ)));
    }),
    ("they share one", true, |s| {
        let cap = s.client.tcb.slots[slots::BUFFER].cap();
        s.server.tcb.slots[slots::BUFFER].set_cap(cap);
    }),
];

#[test]
fn long_messages_are_short_calls_and_arrive_as_they_do_the_long_way() {
    for length in [4, 5, 6, 119, 120, 121, 127] {
        for (case, arrives, prepare) in BUFFERS {
            compare_until(0);
            let mut scene = Scene::new();
            scene.w.message(9, &[1, 2, 3, 4], &[]);
            let buffer = scene.w.kernel.ipc_buffer(scene.client.tcb, true);
            let buffer = buffer.expect("every thread has one at first");
            for (n, word) in buffer.msg.iter().enumerate().skip(4) {
                word.set(100 + n as u64);
            }
            let (client, server) = (scene.client.tcb, scene.server.tcb);
            client.context.rsi.set(9 << 12 | length);
            prepare(&scene);
            compare_until(u64::MAX);
            let before = compared_so_far();
            scene.w.syscall(syscall::CALL);
            assert_eq!(compared_so_far(), before + 1, "{length}, {case}");
            scene.w.expect_running(scene.server);
            let expected = match length {
                ..=4 => length,
                _ if *arrives => length.min(120),
                _ => 4,
            };
            let received = scene.w.received(server);
            let words: Vec<u64> = (1..=4).chain(104..220).take(expected as usize).collect();
            assert_eq!(received.words, words, "{length}, {case}");
            assert_eq!(received.label, 9);
            let context = &server.context;
            context.rdi.set(scene.endpoint);
            context.r12.set(scene.server.reply);
            context.rsi.set(length);
            scene.w.syscall(syscall::REPLY_RECV);
            assert_eq!(compared_so_far(), before + 2, "{length}, {case}");
            scene.w.expect_running(scene.client);
        }
    }
}

#[test]
fn an_unknown_calls_registers_reach_the_handler_and_come_back_from_it() {
    let mut scene = Scene::new();
    compare_until(u64::MAX);
    let names: Vec<u64> = (0..18).map(|n| 0x40 + 0x10 * n).collect();
    let order = [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 0, 1, 2];
    for (n, name) in order.iter().zip(&names) {
        scene.client.tcb.context.registers()[*n].set(*name);
    }
    scene.w.syscall(UNKNOWN);
    scene.w.expect_running(scene.server);
    let mut told = names.clone();
    // RDX is the number, and RIP the instruction.
    (told[3], told[15]) = (UNKNOWN as u64, SYSCALL_AT);
    told.push(UNKNOWN as u64);
    let received = scene.w.received(scene.server.tcb);
    assert_eq!(received.label, fault::UNKNOWN_SYSCALL);
    assert_eq!(received.words, told);
    let answer: Vec<u64> = names.iter().map(|name| name + 1).collect();
    let before = compared_so_far();
    scene
        .w
        .reply_recv(scene.endpoint, scene.server.reply, 0, &answer);
    assert_eq!(compared_so_far(), before + 1, "the answer has no short way");
    scene.w.expect_running(scene.client);
    for (n, value) in order.iter().zip(answer).take(17) {
        assert_eq!(
            scene.client.tcb.context.registers()[*n].get(),
            value,
            "register {n}"
        );
    }
}
