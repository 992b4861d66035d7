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

/// The running thread and its context, which it passes on.
#[derive(Clone, Copy)]
struct Giver {
    tcb: Ref<Tcb>,
    sc: Ref<SchedContext>,
}

/// A receiver that can take over the current context, and where it goes on.
struct Receiver {
    tcb: Ref<Tcb>,
    reply: Ref<Reply>,
    root: Ref<Page>,
}

/// A call that only moves a message and the context.
struct Call {
    caller: Giver,
    endpoint: Ref<Endpoint>,
    receiver: Receiver,
    badge: u64,
    message: Short,
}

/// A fault of the current thread whose handler takes it at once.
struct Delivery {
    faulter: Giver,
    endpoint: Ref<Endpoint>,
    receiver: Receiver,
    badge: u64,
}

/// An answer to the caller whose context the server runs on, and the server's wait for the next message.
#[derive(Clone, Copy)]
struct Answer {
    server: Giver,
    message: Short,
    reply: Ref<Reply>,
    caller: Ref<Tcb>,
    endpoint: Ref<Endpoint>,
    rights: Rights,
}

/// What an answer brings, and where the caller goes on.
#[derive(Clone, Copy)]
enum Content {
    /// A message.
    Message(Ref<Page>),
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
                let caller = self.giver();
                let slot = Self::slot_of(caller.tcb, caller.tcb.context.rdi.get())?;
                match slot.words().callable() {
                    Some(to) => self
                        .decide_call(caller, to)
                        .map(|call| self.perform_call(&call)),
                    None => slot
                        .words()
                        .frame()
                        .map(|frame| self.call_frame(slot, frame)),
                }
            }
            syscall::REPLY_RECV => {
                let answer = self.decide_answer()?;
                self.decide_content(&answer)
                    .map(|content| self.perform_answer(&answer, content))
            }
            _ => None,
        }
    }

    /// Whether a system call has a short way now.
    #[cfg(test)]
    pub(crate) fn has_fast_syscall(&self, number: i64) -> bool {
        let giver = self.giver();
        match number {
            syscall::CALL => {
                Self::slot_of(giver.tcb, giver.tcb.context.rdi.get()).is_some_and(|slot| match slot
                    .words()
                    .callable()
                {
                    Some(to) => self.decide_call(giver, to).is_some(),
                    None => slot.words().frame().is_some(),
                })
            }
            syscall::REPLY_RECV => self
                .decide_answer()
                .is_some_and(|answer| self.decide_content(&answer).is_some()),
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
    fn giver(&self) -> Giver {
        debug_assert!(self.action == Action::Keep && !self.reprogram);
        debug_assert!(self.current.sc.is(self.current_sc));
        Giver {
            tcb: self.current,
            sc: self.current_sc,
        }
    }

    #[inline(always)]
    fn slot_of(tcb: Ref<Tcb>, address: u64) -> Option<Ref<Slot>> {
        crate::cspace::single_level(tcb.slots[slots::CSPACE].words(), address)
    }

    /// Whether `tcb` would be chosen if it were put at the head of its queue and the current thread stopped.
    #[inline(always)]
    fn would_run(&self, tcb: Ref<Tcb>) -> bool {
        self.queues.none_above(tcb.priority.get())
    }

    #[inline(always)]
    fn decide_call(&self, caller: Giver, (endpoint, badge): (Ref<Endpoint>, u64)) -> Option<Call> {
        let message = Short::of(caller.tcb)?;
        let receiver = self.decide_receiver(endpoint)?;
        Some(Call {
            caller,
            endpoint,
            receiver,
            badge,
            message,
        })
    }

    /// The first in the endpoint's queue, if it can answer and has no context.
    #[inline(always)]
    fn decide_receiver(&self, endpoint: Ref<Endpoint>) -> Option<Receiver> {
        let tcb = endpoint.head.get()?;
        // Of the two that hardly ever are there, one look is for both.
        let occupied = tcb.sc.get().is_some() | tcb.vcpu.get().is_some();
        if tcb.state.get() != State::BlockedOnReceive || occupied || !self.would_run(tcb) {
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
        let (caller, receiver) = (call.caller, &call.receiver);
        caller.sc.count_message();
        call.message.transfer(caller.tcb, receiver.tcb, call.badge);
        self.hand_over(caller, call.endpoint, receiver);
        self.load_thread(receiver.tcb, receiver.root, caller.sc)
    }

    /// The receiver leaves its queue and runs on the current context; the current thread waits for its answer.
    #[inline(always)]
    fn hand_over(&mut self, caller: Giver, endpoint: Ref<Endpoint>, receiver: &Receiver) {
        let Receiver { tcb, reply, .. } = *receiver;
        let next = tcb.queue_next.get();
        endpoint.head.set(next);
        match next {
            Some(next) => next.queue_prev.set(None),
            None => endpoint.tail.set(None),
        }
        tcb.queue_next.set(None);
        tcb.reply.set(None);
        reply.tcb.set(Some(caller.tcb));
        caller.tcb.reply.set(Some(reply));
        caller.tcb.state.set(State::BlockedOnReply);
        reply.push_onto(caller.sc);
        self.pass_context(caller, tcb);
    }

    /// The current context and the processor go to a thread that is ready to run.
    #[inline(always)]
    fn pass_context(&mut self, from: Giver, to: Ref<Tcb>) {
        from.tcb.sc.set(None);
        from.sc.tcb.set(Some(to));
        to.sc.set(Some(from.sc));
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
        let faulter = self.giver();
        let (endpoint, badge) = faulter.tcb.slots[slots::FAULT].words().callable()?;
        let receiver = self.decide_receiver(endpoint)?;
        Some(Delivery {
            faulter,
            endpoint,
            receiver,
            badge,
        })
    }

    #[inline(always)]
    fn perform_delivery(&mut self, delivery: &Delivery, label: u64, words: &[u64]) -> Next {
        let Receiver { tcb, root, .. } = delivery.receiver;
        let faulter = delivery.faulter;
        faulter.sc.count_message();
        self.record_fault(faulter.tcb, label, words);
        let info = if words.len() <= MSG_REGISTERS && is_plain(label) {
            for (n, &word) in words.iter().enumerate() {
                tcb.set_mr(n, word);
            }
            MessageInfo::new(label, 0, 0, words.len() as u64)
        } else {
            self.transfer_fault(faulter.tcb, tcb)
        };
        tcb.context.rsi.set(info.word());
        tcb.context.rdi.set(delivery.badge);
        self.hand_over(faulter, delivery.endpoint, &delivery.receiver);
        self.load_thread(tcb, root, faulter.sc)
    }

    #[inline(always)]
    fn decide_answer(&self) -> Option<Answer> {
        let server = self.giver();
        let message = Short::of(server.tcb)?;
        let context = &server.tcb.context;
        let reply = Self::slot_of(server.tcb, context.r12.get())?
            .words()
            .reply()?;
        let (endpoint, rights) = Self::slot_of(server.tcb, context.rdi.get())?
            .words()
            .receivable()?;
        if !reply.is_top_of(server.sc) {
            return None;
        }
        // The top of a stack has a caller that waits for its answer.
        let caller = reply.tcb.get()?;
        if let Some(notification) = server.tcb.notification.get()
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
            server,
            message,
            reply,
            caller,
            endpoint,
            rights,
        })
    }

    #[inline(always)]
    fn decide_content(&self, answer: &Answer) -> Option<Content> {
        let (caller, end) = (answer.caller, answer.message.label());
        match (caller.fault.get().label, caller.vcpu.get()) {
            (0, None) => Some(Content::Message(self.thread_space(caller)?)),
            // With another label the thread stays stopped.
            (fault::EXIT_FIRST.., Some(vcpu)) if end == 0 => Some(Content::Resume(vcpu)),
            (fault::VM_FAULT, None) => Some(Content::Restart(self.thread_space(caller)?)),
            (fault::USER_EXCEPTION | fault::UNKNOWN_SYSCALL, None) if end == 0 => {
                Some(Content::Restart(self.thread_space(caller)?))
            }
            _ => None,
        }
    }

    #[inline(always)]
    fn perform_answer(&mut self, answer: &Answer, content: Content) -> Next {
        let Answer { server, caller, .. } = *answer;
        match content {
            Content::Message(root) => {
                server.sc.count_message();
                answer.message.transfer(server.tcb, caller, 0);
                self.hand_back(answer);
                self.load_thread(caller, root, server.sc)
            }
            Content::Restart(root) => self.restart_caller(*answer, root),
            Content::Resume(vcpu) => self.resume_guest(*answer, vcpu),
        }
    }

    #[inline(never)]
    fn restart_caller(&mut self, answer: Answer, root: Ref<Page>) -> Next {
        self.fault_reply(answer.caller, answer.server.tcb);
        self.end_fault(&answer);
        self.load_thread(answer.caller, root, answer.server.sc)
    }

    #[inline(never)]
    fn resume_guest(&mut self, answer: Answer, vcpu: Ref<Vcpu>) -> Next {
        self.fault_reply(answer.caller, answer.server.tcb);
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
        let Answer {
            server,
            reply,
            caller,
            endpoint,
            rights,
            ..
        } = *answer;
        reply.pop_from(server.sc);
        caller.reply.set(None);
        let waiting = server.tcb;
        waiting.blocked_on.set(endpoint.bits());
        waiting.receiver_can_grant.set(rights.has(Rights::GRANT));
        waiting.reply.set(Some(reply));
        reply.tcb.set(Some(waiting));
        waiting.state.set(State::BlockedOnReceive);
        self.pass_context(server, caller);
        if endpoint.head.get().is_none() {
            waiting.queue_prev.set(None);
            waiting.queue_next.set(None);
            endpoint.head.set(Some(waiting));
            endpoint.tail.set(Some(waiting));
        } else {
            queue_insert(&endpoint.head, &endpoint.tail, waiting);
        }
    }
}
