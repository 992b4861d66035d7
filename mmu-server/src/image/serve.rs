//! The loop: receive, answer, reply and receive.

use mmu_server::{Message, Server, ShadowMmu};
use protocol::slots::common;
use sel4::logging::PLAIN;
use sel4::{MessageInfo, NUM_FAST_MESSAGE_REGISTERS, RecvWithMRs, cap};

const SERVICE: cap::Endpoint = cap::Endpoint::from_bits(common::SERVICE);
const REPLY: cap::Reply = cap::Reply::from_bits(common::REPLY);

/// Says that the server of the VM called `name` is ready, then serves for ever on its callers' time.
pub fn serve<E: ShadowMmu>(mut server: Server<E>, name: &str) -> ! {
    let mut message = Message::new();
    let mut received = sel4_domain::ready_and_receive_with_mrs(SERVICE, REPLY);
    loop {
        take(&received, &mut message);
        if let Some(finding) = server.answer(&mut message) {
            log::error!(target: PLAIN, "umbra-finding vm={name} {finding}");
        }
        received = reply_and_receive(&message);
    }
}

/// The first words came in registers, the others lie in the IPC buffer.
fn take(received: &RecvWithMRs, message: &mut Message) {
    message.label = received.info.label();
    message.length = received.info.length();
    let kept = message.length.min(message.words.len());
    let (fast, slow) = message.words.split_at_mut(NUM_FAST_MESSAGE_REGISTERS);
    fast.copy_from_slice(&received.msg);
    if let Some(rest) = kept
        .checked_sub(NUM_FAST_MESSAGE_REGISTERS)
        .filter(|rest| *rest > 0)
    {
        sel4::with_ipc_buffer(|buffer| {
            slow[..rest].copy_from_slice(&buffer.msg_regs()[NUM_FAST_MESSAGE_REGISTERS..][..rest]);
        });
    }
}

fn reply_and_receive(message: &Message) -> RecvWithMRs {
    let (fast, slow) = message.words.split_at(NUM_FAST_MESSAGE_REGISTERS);
    if let Some(rest) = message
        .length
        .checked_sub(NUM_FAST_MESSAGE_REGISTERS)
        .filter(|rest| *rest > 0)
    {
        sel4::with_ipc_buffer_mut(|buffer| {
            buffer.msg_regs_mut()[NUM_FAST_MESSAGE_REGISTERS..][..rest]
                .copy_from_slice(&slow[..rest]);
        });
    }
    let info = MessageInfo::new(message.label, 0, 0, message.length);
    SERVICE.reply_recv_with_mrs(info, fast, REPLY)
}
