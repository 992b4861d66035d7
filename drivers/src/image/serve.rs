//! A VM's thread: receives, lets [`Server`] do it, replies.

use super::{NOTIFICATION, SHARED, console_owner, machine, print};
use device_server::server::{Host, MAX_WORDS, Server};
use protocol::{
    slots::drivers,
    system::{DomainInfo, Vm},
};
use sel4::{MessageInfo, RecvWithMRs, cap};

/// What the thread can do beside answering.
struct Thread;

impl Host for Thread {
    fn tsc(&mut self) -> u64 {
        machine::tsc()
    }
    fn kick(&mut self) {
        NOTIFICATION.signal();
    }
    fn print(&mut self, line: core::fmt::Arguments<'_>) {
        print(line);
    }
}

/// Serves VM `vm` for ever.
pub fn run(vm: usize, config: &Vm, info: &DomainInfo) -> ! {
    let (endpoint, reply, _) = drivers::vm(vm as u64);
    let (endpoint, reply) = (
        cap::Endpoint::from_bits(endpoint),
        cap::Reply::from_bits(reply),
    );
    let owns_console = console_owner(info) == Some(vm);
    let mut server = Server::new(vm, config, owns_console, info.tsc_mhz, &SHARED, Thread);
    let mut words = [0; MAX_WORDS];
    let mut message = sel4_domain::ready_and_receive_with_mrs(endpoint, reply);
    loop {
        let length = take(&message, &mut words);
        let answer = server.handle(message.info.label(), &words[..length]);
        let info = MessageInfo::new(answer.label, 0, 0, answer.words.len());
        message = endpoint.reply_recv_with_mrs(info, answer.words, reply);
    }
}

/// The message's words: the first few came in registers, the rest are in the IPC buffer.
fn take(message: &RecvWithMRs, words: &mut [u64; MAX_WORDS]) -> usize {
    let length = message.info.length().min(MAX_WORDS);
    let fast = message.msg.len();
    words[..fast].copy_from_slice(&message.msg);
    if length > fast {
        sel4::with_ipc_buffer(|buffer| {
            words[fast..length].copy_from_slice(&buffer.msg_regs()[fast..length]);
        });
    }
    length
}
