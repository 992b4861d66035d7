//! The loop: an exit is answered, a signal is looked at, a halt keeps the reply and waits.
//!
//! Exits are told from signals by their label: a signal of the bound notification carries a badge and no label.

use super::report;
use super::servers::Servers;
use exit_abi::{Exit, Status};
use protocol::device::Stop;
use protocol::slots::{common, vmm as slot};
use sel4::{MessageInfo, NUM_FAST_MESSAGE_REGISTERS, RecvWithMRs, Word, cap};
use vcpu::Resume;
use vcpu::registers::MAX_WORDS;
use vmm_server::stats::Moment;
use vmm_server::{Stopped, Vcpu, Verdict};

const SERVICE: cap::Endpoint = cap::Endpoint::from_bits(common::SERVICE);
const REPLY: cap::Reply = cap::Reply::from_bits(common::REPLY);
const NOTIFICATION: cap::Notification = cap::Notification::from_bits(slot::NOTIFICATION);

/// The label a receive leaves behind when a signal ended it.
const NO_LABEL: Word = 0;

/// Runs the VM until it stops.
pub fn run(mut vcpu: Vcpu, mut servers: Servers, name: &str) -> ! {
    let mut resume = Resume::new(Status::default());
    let mut received = sel4_domain::ready_and_receive_with_mrs(SERVICE, REPLY);
    loop {
        let label = received.info.label();
        if label == NO_LABEL {
            vcpu.signal(&mut servers, received.badge);
            vcpu.interrupt_running(&mut servers);
            received = SERVICE.recv_with_mrs(REPLY);
            continue;
        }
        let Some((exit, status)) = Exit::decode(label, received.msg) else {
            log::error!("{name}: a message that is no exit, label {label:#x}");
            let stopped = Stopped {
                reason: Stop::DomainFailed,
                value: label,
                what: "unknown message",
            };
            report::end(&vcpu, &mut servers, name, &stopped);
            rest()
        };
        let unmarked = vcpu.markers().kept().is_empty();
        match vcpu.exit(&mut servers, &exit, status, &mut resume) {
            Verdict::Resume => {
                if unmarked && !vcpu.markers().kept().is_empty() {
                    report::counters(&vcpu, &mut servers, name, Moment::FirstMarker);
                }
            }
            Verdict::Halt => sleep(&mut vcpu, &mut servers, &mut resume),
            Verdict::Stop(stopped) => {
                log::info!("{name} stops: {}, at {exit:x?}", stopped.what);
                report::end(&vcpu, &mut servers, name, &stopped);
                rest()
            }
        }
        received = reply_and_receive(&resume);
    }
}

/// Waits until the halted guest has an interrupt to take. The exit's reply object stays as it is, so no other exit can
/// come.
fn sleep(vcpu: &mut Vcpu, servers: &mut Servers, resume: &mut Resume) {
    loop {
        let (_, badge) = NOTIFICATION.wait();
        vcpu.signal(servers, badge);
        if vcpu.wake(servers, resume) {
            return;
        }
    }
}

/// The VM is over: its last exit is never answered.
fn rest() -> ! {
    loop {
        NOTIFICATION.wait();
    }
}

fn reply_and_receive(resume: &Resume) -> RecvWithMRs {
    let registers = resume.registers();
    if registers.mask().is_empty() {
        return SERVICE.reply_recv_with_mrs(MessageInfo::default(), [], REPLY);
    }
    let mut words = [0; MAX_WORDS];
    let length = registers.encode(&mut words);
    if length > NUM_FAST_MESSAGE_REGISTERS {
        sel4::with_ipc_buffer_mut(|buffer| {
            let range = NUM_FAST_MESSAGE_REGISTERS..length;
            buffer.msg_regs_mut()[range.clone()].copy_from_slice(&words[range]);
        });
    }
    let info = MessageInfo::new(NO_LABEL, 0, 0, length);
    SERVICE.reply_recv_with_mrs(info, &words[..NUM_FAST_MESSAGE_REGISTERS], REPLY)
}
