//! The short way of what happens most: a call to a server that waits without time of its own, a fault or a guest's exit
//! whose handler waits like that, and the answer of either with which it waits for the next.
//!
//! Always: a decision looks and changes nothing; `None` sends the call down the long way. What is decided cannot fail, and
//! leaves the kernel as the long way would (`tests/fastpath.rs`), with one difference, which is seL4's: the time is not
//! read. The context stays the same one, so nothing is booked and the timer stands as it was set for it; whoever
//! enters the kernel next books all of it.

use crate::kernel::{Action, Kernel};
use crate::machine::{Machine, Next};
use crate::mem::{Page, Ref};
use crate::object::endpoint::{Waiting, queue_insert};
use crate::object::tcb::{Fault, State, slots};
use crate::object::{Endpoint, Reply, SchedContext, Tcb, Vcpu};
use crate::slot::Slot;
use sel4_abi::message::MessageInfo;
use sel4_abi::{MSG_REGISTERS, Rights, fault, syscall};
use words::x86::vector;

/// Label and length of a message information word: what arrives of it when no capability is sent.
const ARRIVES: u64 = !0xf80;
/// Length and number of extra capabilities.
const SIZE: u64 = 0x1ff;

/// Whether the fault's words are its whole message; others have the thread's registers in it.
#[inline(always)]
const fn is_plain(label: u64) -> bool {
    label == fault::VM_FAULT || label >= fault::EXIT_FIRST
}

/// A message that fits in registers: its information word.
#[derive(Clone, Copy)]
struct Short(u64);

impl Short {
    /// The current thread's message, if it has no more than four words and no capabilities.
    #[inline(always)]
    fn of(tcb: Ref<Tcb>) -> Option<Self> {
        let info = tcb.context.rsi.get();
        (info & SIZE <= MSG_REGISTERS as u64).then_some(Self(info & ARRIVES))
    }

    #[inline(always)]
    fn label(self) -> u64 {
        MessageInfo::from_word(self.0).label()
    }

    /// Moves it.
    #[inline(always)]
    fn transfer(self, from: Ref<Tcb>, to: Ref<Tcb>, badge: u64) {
        let length = self.0 & SIZE;
        for n in 0..MSG_REGISTERS {
            if n as u64 == length {
                break;
            }
            to.set_mr(n, from.mr(n));
        }
        to.context.rsi.set(self.0);
        to.context.rdi.set(badge);
    }
}

/// A receiver that can take over the current context, and where it goes on.
struct Receiver {
    tcb: Ref<Tcb>,
    reply: Ref<Reply>,
    root: Ref<Page>,
}

/// A call that only moves a message and the context.
struct Call {
    endpoint: Ref<Endpoint>,
    receiver: Receiver,
    badge: u64,
    message: Short,
}

/// A fault of the current thread whose handler takes it at once.
struct Delivery {
    endpoint: Ref<Endpoint>,
    receiver: Receiver,
    badge: u64,
}

/// An answer to the caller whose context the server runs on, and the server's wait for the next message.
#[derive(Clone, Copy)]
struct Answer {
    reply: Ref<Reply>,
    caller: Ref<Tcb>,
    content: Content,
    endpoint: Ref<Endpoint>,
    rights: Rights,
}

/// What an answer brings, and where the caller goes on.
#[derive(Clone, Copy)]
enum Content {
    /// A message.
    Message(Short, Ref<Page>),
    /// The end of a fault.
    Restart(Ref<Page>),
    /// The end of a guest's exit.
    Resume(Ref<Vcpu>),
}

impl<M: Machine> Kernel<M> {
    /// Does a system call of the current thread the short way, if it has one. Calls of frames are not short, but
    /// frequent: all they are spared is the search for what they are.
    #[inline(always)]
    pub fn fast_syscall(&mut self, number: i64) -> Option<Next> {
        match number {
            syscall::CALL => {
                let slot = self.slot_of_current(self.current.context.rdi.get())?;
                match slot.words().endpoint() {
                    Some(to) => self.decide_call(to).map(|call| self.perform_call(&call)),
                    None => slot
                        .words()
                        .frame()
                        .map(|frame| self.call_frame(slot, frame)),
                }
            }
            syscall::REPLY_RECV => self
                .decide_answer()
                .map(|answer| self.perform_answer(&answer)),
            _ => None,
        }
    }

    /// Whether a system call has a short way now.
    #[cfg(test)]
    pub(crate) fn has_fast_syscall(&self, number: i64) -> bool {
        match number {
            syscall::CALL => self
                .slot_of_current(self.current.context.rdi.get())
                .is_some_and(|slot| match slot.words().endpoint() {
                    Some(to) => self.decide_call(to).is_some(),
                    None => slot.words().frame().is_some(),
                }),
            syscall::REPLY_RECV => self.decide_answer().is_some(),
            _ => false,
        }
    }

    /// Delivers an exception of the current thread the short way, if it has one.
    #[inline(always)]
    pub fn fast_exception(&mut self, number: u8, code: u64, cr2: u64) -> Option<Next> {
        match number {
            // It may only want the FPU.
            vector::NM => None,
            vector::PF => {
                let words = Self::page_fault_words(self.current, code, cr2);
                self.fast_fault(fault::VM_FAULT, &words)
            }
            _ => self.fast_fault(fault::USER_EXCEPTION, &[u64::from(number), code]),
        }
    }

    #[inline(always)]
    fn slot_of_current(&self, address: u64) -> Option<Ref<Slot>> {
        crate::cspace::single_level(self.current.slots[slots::CSPACE].words(), address)
    }

    #[inline(always)]
    fn count_message(&self) {
        let ipcs = &self.current_sc.ipcs;
        ipcs.set(ipcs.get() + 1);
    }

    /// Whether `tcb` would be chosen if it were put at the head of its queue and the current thread stopped. Nothing
    /// that is ready has a higher priority than the current thread.
    #[inline(always)]
    fn would_run(&self, tcb: Ref<Tcb>) -> bool {
        let priority = tcb.priority.get();
        priority >= self.current.priority.get()
            || self.queues.are_empty()
            || self.queues.highest().is_none_or(|top| priority >= top)
    }

    #[inline(always)]
    fn decide_call(&self, (endpoint, badge, rights): (Ref<Endpoint>, u64, Rights)) -> Option<Call> {
        let message = Short::of(self.current)?;
        let receiver = self.decide_receiver(endpoint, rights)?;
        Some(Call {
            endpoint,
            receiver,
            badge,
            message,
        })
    }

    /// The first in the endpoint's queue, if it can answer and has no context.
    #[inline(always)]
    fn decide_receiver(&self, endpoint: Ref<Endpoint>, rights: Rights) -> Option<Receiver> {
        debug_assert!(self.action == Action::Keep && !self.reprogram);
        debug_assert!(self.current.sc.is(self.current_sc));
        let may_call = rights.has(Rights::WRITE)
            && (rights.has(Rights::GRANT) || rights.has(Rights::GRANT_REPLY));
        let tcb = endpoint.head.get()?;
        if !may_call
            || tcb.state.get() != State::BlockedOnReceive
            || tcb.sc.get().is_some()
            || tcb.vcpu.get().is_some()
            || !self.would_run(tcb)
        {
            return None;
        }
        Some(Receiver {
            tcb,
            reply: tcb.reply.get()?,
            root: self.thread_space(tcb)?,
        })
    }

    #[inline(always)]
    fn perform_call(&mut self, call: &Call) -> Next {
        let Receiver { tcb, root, .. } = call.receiver;
        self.count_message();
        call.message.transfer(self.current, tcb, call.badge);
        self.hand_over(call.endpoint, &call.receiver);
        self.load_thread(tcb, root)
    }

    /// The receiver leaves its queue and runs on the current context; the current thread waits for its answer.
    #[inline(always)]
    fn hand_over(&mut self, endpoint: Ref<Endpoint>, receiver: &Receiver) {
        let (caller, sc) = (self.current, self.current_sc);
        let Receiver { tcb, reply, .. } = *receiver;
        let next = tcb.queue_next.get();
        endpoint.head.set(next);
        match next {
            Some(next) => next.queue_prev.set(None),
            None => endpoint.tail.set(None),
        }
        tcb.queue_next.set(None);
        tcb.reply.set(None);
        reply.tcb.set(Some(caller));
        caller.reply.set(Some(reply));
        caller.state.set(State::BlockedOnReply);
        reply.push_onto(sc);
        self.pass_context(sc, caller, tcb);
    }

    /// The current context and the processor go to a thread that is ready to run.
    #[inline(always)]
    fn pass_context(&mut self, sc: Ref<SchedContext>, from: Ref<Tcb>, to: Ref<Tcb>) {
        from.sc.set(None);
        sc.tcb.set(Some(to));
        to.sc.set(Some(sc));
        to.state.set(State::Running);
        self.current = to;
    }

    /// Delivers a fault of the current thread the short way, if it has one. The words are those the long way would be given.
    #[inline(always)]
    pub(crate) fn fast_fault(&mut self, label: u64, words: &[u64]) -> Option<Next> {
        let delivery = self.decide_delivery()?;
        Some(self.perform_delivery(&delivery, label, words))
    }

    #[inline(always)]
    fn decide_delivery(&self) -> Option<Delivery> {
        let (endpoint, badge, rights) = self.current.slots[slots::FAULT].words().endpoint()?;
        let receiver = self.decide_receiver(endpoint, rights)?;
        Some(Delivery {
            endpoint,
            receiver,
            badge,
        })
    }

    #[inline(always)]
    fn perform_delivery(&mut self, delivery: &Delivery, label: u64, words: &[u64]) -> Next {
        let Receiver { tcb, root, .. } = delivery.receiver;
        self.count_message();
        self.record_fault(self.current, label, words);
        let info = if words.len() <= MSG_REGISTERS && is_plain(label) {
            for (n, &word) in words.iter().enumerate() {
                tcb.set_mr(n, word);
            }
            MessageInfo::new(label, 0, 0, words.len() as u64)
        } else {
            self.transfer_fault(self.current, tcb)
        };
        tcb.context.rsi.set(info.word());
        tcb.context.rdi.set(delivery.badge);
        self.hand_over(delivery.endpoint, &delivery.receiver);
        self.load_thread(tcb, root)
    }

    #[inline(always)]
    fn decide_answer(&self) -> Option<Answer> {
        debug_assert!(self.action == Action::Keep && !self.reprogram);
        let server = self.current;
        let message = Short::of(server)?;
        let (reply, _) = self
            .slot_of_current(server.context.r12.get())?
            .words()
            .reply()?;
        let (endpoint, _, rights) = self
            .slot_of_current(server.context.rdi.get())?
            .words()
            .endpoint()?;
        if !rights.has(Rights::READ) || !reply.is_top_of(self.current_sc) {
            return None;
        }
        // The top of a stack has a caller that waits for its answer.
        let caller = reply.tcb.get()?;
        if let Some(notification) = server.notification.get()
            && notification.is_active()
        {
            return None;
        }
        if endpoint.waiting() == Waiting::Senders
            || caller.sc.get().is_some()
            || !self.would_run(caller)
        {
            return None;
        }
        Some(Answer {
            reply,
            caller,
            content: self.decide_content(caller, message)?,
            endpoint,
            rights,
        })
    }

    #[inline(always)]
    fn decide_content(&self, caller: Ref<Tcb>, message: Short) -> Option<Content> {
        let label = caller.fault.get().label;
        match (label, caller.vcpu.get()) {
            (0, None) => Some(Content::Message(message, self.thread_space(caller)?)),
            // With another label the thread stays stopped.
            (fault::EXIT_FIRST.., Some(vcpu)) if message.label() == 0 => {
                Some(Content::Resume(vcpu))
            }
            (fault::VM_FAULT, None) => Some(Content::Restart(self.thread_space(caller)?)),
            (fault::USER_EXCEPTION | fault::UNKNOWN_SYSCALL, None) if message.label() == 0 => {
                Some(Content::Restart(self.thread_space(caller)?))
            }
            _ => None,
        }
    }

    #[inline(always)]
    fn perform_answer(&mut self, answer: &Answer) -> Next {
        let Answer { caller, .. } = *answer;
        match answer.content {
            Content::Message(message, root) => {
                self.count_message();
                message.transfer(self.current, caller, 0);
                self.hand_back(answer);
                self.load_thread(caller, root)
            }
            Content::Restart(root) => self.restart_caller(*answer, root),
            Content::Resume(vcpu) => self.resume_guest(*answer, vcpu),
        }
    }

    #[inline(never)]
    fn restart_caller(&mut self, answer: Answer, root: Ref<Page>) -> Next {
        self.fault_reply(answer.caller, self.current);
        self.end_fault(&answer);
        self.load_thread(answer.caller, root)
    }

    #[inline(never)]
    fn resume_guest(&mut self, answer: Answer, vcpu: Ref<Vcpu>) -> Next {
        self.fault_reply(answer.caller, self.current);
        self.end_fault(&answer);
        match self.vcpu_prepare(vcpu) {
            Some(next) => next,
            // It cannot run, and its handler was told so.
            None => self.decide_again(),
        }
    }

    #[cold]
    #[inline(never)]
    fn decide_again(&mut self) -> Next {
        self.decide()
    }

    #[inline(always)]
    fn end_fault(&mut self, answer: &Answer) {
        answer.caller.fault.set(Fault::default());
        self.hand_back(answer);
    }

    /// The server gives the context back and waits in the endpoint with the same reply object.
    #[inline(always)]
    fn hand_back(&mut self, answer: &Answer) {
        let (server, sc) = (self.current, self.current_sc);
        let Answer {
            reply,
            caller,
            endpoint,
            rights,
            ..
        } = *answer;
        reply.pop_from(sc);
        caller.reply.set(None);
        server.blocked_on.set(endpoint.bits());
        server.receiver_can_grant.set(rights.has(Rights::GRANT));
        server.reply.set(Some(reply));
        reply.tcb.set(Some(server));
        server.state.set(State::BlockedOnReceive);
        self.pass_context(sc, server, caller);
        if endpoint.head.get().is_none() {
            server.queue_prev.set(None);
            server.queue_next.set(None);
            endpoint.head.set(Some(server));
            endpoint.tail.set(Some(server));
        } else {
            queue_insert(&endpoint.head, &endpoint.tail, server);
        }
    }
}
