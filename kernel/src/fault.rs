//! Faults: from an event to a message, and from the handler's reply back to registers.

use crate::cap::Cap;
use crate::context::entry;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::mem::Ref;
use crate::object::Tcb;
use crate::object::endpoint::Send;
use crate::object::tcb::{Fault, State, slots};
use sel4_abi::message::MessageInfo;
use sel4_abi::{LookupFailure, MSG_REGISTERS, fault};

/// Register order of an unknown-syscall message, as indices of the user context.
const SYSCALL_REGISTERS: [usize; 18] =
    [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 0, 1, 2];

impl<M: Machine> Kernel<M> {
    /// The thread faulted: its handler is told, or it stops.
    pub(crate) fn fault(&mut self, tcb: Ref<Tcb>, label: u64, words: &[u64]) {
        self.record_fault(tcb, label, words);
        self.deliver_fault(tcb, slots::FAULT, tcb.sc.get().is_some());
    }

    /// Notes the fault in the thread.
    #[inline(always)]
    pub(crate) fn record_fault(&mut self, tcb: Ref<Tcb>, label: u64, words: &[u64]) {
        let mut record = Fault {
            label,
            length: words.len(),
            ..Fault::default()
        };
        record.words[..words.len()].copy_from_slice(words);
        // A fault of a system call refers to the SYSCALL instruction itself.
        tcb.context.rip.set(tcb.restart_ip());
        tcb.context.entered_by.set(entry::FULL);
        tcb.fault.set(record);
    }

    fn deliver_fault(&mut self, tcb: Ref<Tcb>, handler: usize, may_donate: bool) {
        let cap = tcb.slots[handler].cap();
        match cap {
            Cap::Endpoint {
                object,
                badge,
                rights,
            } if crate::object::tcb::valid_fault_handler(cap) => {
                let send = Send {
                    blocking: true,
                    is_call: true,
                    badge,
                    rights,
                    may_donate,
                };
                self.send_ipc(tcb, object, send);
            }
            _ => {
                let record = tcb.fault.get();
                self.debug_unhandled(tcb, record);
                tcb.fault.set(Fault::default());
                self.set_state(tcb, State::Inactive);
            }
        }
    }

    fn debug_unhandled(&mut self, tcb: Ref<Tcb>, record: Fault) {
        let words = record.words;
        let name = tcb.name.get();
        let end = name.iter().position(|&c| c == 0).unwrap_or(name.len());
        let name = core::str::from_utf8(&name[..end]).unwrap_or("?");
        self.debug_print(format_args!(
            "thread '{name}' ({:#x}) stops: fault {} {:#x} {:#x} {:#x} at {:#x}, no handler\n",
            tcb.bits(),
            record.label,
            words[0],
            words[1],
            words[2],
            tcb.context.rip.get()
        ));
    }

    /// Prints on the debug console.
    pub fn debug_print(&mut self, text: core::fmt::Arguments<'_>) {
        struct Console<'a, M: Machine>(&'a mut M);
        impl<M: Machine> core::fmt::Write for Console<'_, M> {
            fn write_str(&mut self, text: &str) -> core::fmt::Result {
                text.bytes().for_each(|c| self.0.put_char(c));
                Ok(())
            }
        }
        // Writing to the console cannot fail.
        let _ = core::fmt::write(&mut Console(&mut self.machine), text);
    }

    /// A budget ended and the thread has a timeout handler.
    pub(crate) fn timeout_fault(&mut self, tcb: Ref<Tcb>) {
        let badge = tcb.sc.get().map_or(0, |sc| sc.badge.get());
        tcb.context.rip.set(tcb.restart_ip());
        tcb.context.entered_by.set(entry::FULL);
        tcb.fault.set(Fault {
            label: fault::TIMEOUT,
            words: [badge, 0, 0, 0, 0, 0, 0],
            length: 2,
        });
        self.deliver_fault(tcb, slots::TIMEOUT, false);
    }

    /// A capability address of the thread led nowhere.
    pub(crate) fn cap_fault(
        &mut self,
        tcb: Ref<Tcb>,
        address: u64,
        receiving: bool,
        failure: LookupFailure,
    ) {
        let (description, count) = failure.words();
        let mut words = [0; 7];
        words[0] = tcb.restart_ip();
        words[1] = address;
        words[2] = u64::from(receiving);
        words[3..].copy_from_slice(&description);
        self.fault(tcb, fault::CAP_FAULT, &words[..3 + count]);
    }

    /// Tells `receiver` of the thread's fault.
    pub(crate) fn transfer_fault(&mut self, tcb: Ref<Tcb>, receiver: Ref<Tcb>) -> MessageInfo {
        let Fault {
            label,
            words,
            length,
        } = tcb.fault.get();
        let c = &tcb.context;
        let length = match label {
            fault::UNKNOWN_SYSCALL => {
                // The last word is the system call's number.
                let mut message = [words[0]; fault::UNKNOWN_SYSCALL_LENGTH];
                let registers = c.registers();
                for (word, register) in message.iter_mut().zip(SYSCALL_REGISTERS) {
                    *word = registers[register].get();
                }
                self.put_words(receiver, &message)
            }
            fault::USER_EXCEPTION => {
                let message = [c.rip.get(), c.rsp.get(), c.rflags.get(), words[0], words[1]];
                self.put_words(receiver, &message)
            }
            fault::TIMEOUT => match tcb.sc.get() {
                Some(sc) => {
                    let consumed = self.take_consumed(sc);
                    self.put_words(receiver, &[words[0], consumed])
                }
                None => self.put_words(receiver, &words[..1]),
            },
            _ => self.put_words(receiver, &words[..length]),
        };
        MessageInfo::new(label, 0, 0, length as u64)
    }

    /// Applies the handler's reply to the faulted thread; whether the thread goes on.
    pub(crate) fn fault_reply(&mut self, tcb: Ref<Tcb>, handler: Ref<Tcb>) -> bool {
        let info = MessageInfo::from_word(handler.context.rsi.get());
        let buffer = if info.length() > MSG_REGISTERS {
            self.ipc_buffer(handler, false)
        } else {
            None
        };
        let word = |n: usize| {
            if n < MSG_REGISTERS {
                handler.mr(n)
            } else {
                buffer.map_or(0, |buffer| buffer.msg[n].get())
            }
        };
        let mut length = info.length();
        if length > MSG_REGISTERS && buffer.is_none() {
            length = MSG_REGISTERS;
        }
        self.abandon_cancelling(tcb);
        match tcb.fault.get().label {
            fault::UNKNOWN_SYSCALL => {
                for (n, register) in SYSCALL_REGISTERS.into_iter().enumerate().take(length) {
                    tcb.write_register(register, word(n));
                }
            }
            fault::USER_EXCEPTION => {
                (0..length.min(3)).for_each(|n| tcb.write_register(n, word(n)))
            }
            fault::TIMEOUT => {
                (0..length.min(fault::TIMEOUT_REPLY_LENGTH))
                    .for_each(|n| tcb.write_register(n, word(n)));
            }
            label if label >= fault::EXIT_FIRST => {
                if let Some(vcpu) = tcb.vcpu.get() {
                    self.vcpu_resume(vcpu, length, word);
                }
            }
            _ => return true,
        }
        info.label() == 0
    }
}
