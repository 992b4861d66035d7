//! The short way of what happens most: a call to a server that waits, a fault or a guest's exit whose handler waits, and the
//! answer of either with which it waits for the next.
//!
//! Always: a decision looks and changes nothing; `None` sends the call down the long way. What is decided cannot fail, and
//! leaves the kernel as the long way would (`tests/fastpath/`), with one difference, which is seL4's: where the context
//! goes along, the time is not read. The context stays the same one, so nothing is booked and the timer stands as it was
//! set for it; whoever enters the kernel next books all of it. Where each has time of its own, the time is booked as ever.

mod turn;

use self::turn::{Lent, Own, Plain, Turn};
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
/// Length.
const LENGTH: u64 = 0x7f;
/// Length and number of extra capabilities.
const SIZE: u64 = 0x1ff;

/// Whether the fault's words are its whole message; others have the thread's registers in it.
#[inline(always)]
const fn is_plain(label: u64) -> bool {
    label == fault::VM_FAULT || label >= fault::EXIT_FIRST
}

/// A message without capabilities: its information word.
#[derive(Clone, Copy)]
struct Bare(u64);

impl Bare {
    /// The current thread's message, if it has no capabilities and, unless [`Turn::LONG`], no more words than registers hold.
    #[inline(always)]
    fn of<T: Turn>(tcb: Ref<Tcb>) -> Option<Self> {
        let info = tcb.context.rsi.get();
        let most = if T::LONG {
            LENGTH
        } else {
            MSG_REGISTERS as u64
        };
        (info & SIZE <= most).then_some(Self(info & ARRIVES))
    }

    #[inline(always)]
    fn label(self) -> u64 {
        MessageInfo::from_word(self.0).label()
    }

    #[inline(always)]
    const fn length(self) -> usize {
        (self.0 & LENGTH) as usize
    }
}

/// The running thread and its context.
#[derive(Clone, Copy)]
struct Giver {
    tcb: Ref<Tcb>,
    sc: Ref<SchedContext>,
}

/// A receiver that can run at once, and where it goes on.
struct Receiver<T> {
    tcb: Ref<Tcb>,
    reply: Ref<Reply>,
    root: Ref<Page>,
    turn: T,
}

/// A call that only moves a message, and the processor.
struct Call<T> {
    caller: Giver,
    endpoint: Ref<Endpoint>,
    receiver: Receiver<T>,
    badge: u64,
    message: Bare,
}

/// A fault of the current thread whose handler takes it at once.
struct Delivery<T> {
    faulter: Giver,
    endpoint: Ref<Endpoint>,
    receiver: Receiver<T>,
    badge: u64,
}

/// An answer to a caller that can run at once, and the server's wait for the next message.
#[derive(Clone, Copy)]
struct Answer<T> {
    server: Giver,
    message: Bare,
    reply: Ref<Reply>,
    caller: Ref<Tcb>,
    turn: T,
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
                    Some(to) => match self.decide_call::<Plain>(caller, to) {
                        Some(call) => Some(self.perform_call(&call)),
                        None => self.fast_otherwise(number),
                    },
                    None => slot
                        .words()
                        .frame()
                        .map(|frame| self.call_frame(slot, frame)),
                }
            }
            syscall::REPLY_RECV => match self.decide_answer::<Plain>() {
                Some((answer, content)) => Some(self.perform_answer(&answer, content)),
                None => self.fast_otherwise(number),
            },
            _ => None,
        }
    }

    /// A call or an answer that is short, though not plain.
    #[cold]
    #[inline(never)]
    fn fast_otherwise(&mut self, number: i64) -> Option<Next> {
        // With a message that fits in registers it would have been plain.
        if Bare::of::<Plain>(self.current).is_none()
            && let Some(next) = self.fast_with::<Lent<true>>(number)
        {
            return Some(next);
        }
        self.fast_with::<Own>(number)
    }

    #[inline(always)]
    fn fast_with<T: Turn>(&mut self, number: i64) -> Option<Next> {
        if number == syscall::CALL {
            let call = self.decide_current_call::<T>()?;
            Some(self.perform_call(&call))
        } else {
            let (answer, content) = self.decide_answer::<T>()?;
            Some(self.perform_answer(&answer, content))
        }
    }

    fn decide_current_call<T: Turn>(&self) -> Option<Call<T>> {
        let caller = self.giver();
        let slot = Self::slot_of(caller.tcb, caller.tcb.context.rdi.get())?;
        self.decide_call(caller, slot.words().callable()?)
    }

    /// Whether a system call has a short way now.
    #[cfg(test)]
    pub(crate) fn has_fast_syscall(&self, number: i64) -> bool {
        match number {
            syscall::CALL => {
                let current = self.current;
                let slot = Self::slot_of(current, current.context.rdi.get());
                slot.is_some_and(|slot| slot.words().frame().is_some())
                    || self.decide_current_call::<Lent<true>>().is_some()
                    || self.decide_current_call::<Own>().is_some()
            }
            syscall::REPLY_RECV => {
                self.decide_answer::<Lent<true>>().is_some()
                    || self.decide_answer::<Own>().is_some()
            }
            _ => false,
        }
    }

    /// Delivers an exception of the current thread the short way, if it has one.
    #[inline(always)]
    pub fn fast_exception(&mut self, number: u8, code: u64, cr2: u64) -> Option<Next> {
        match self.fast_exception_with::<Plain>(number, code, cr2) {
            None => self.exception_on_own_time(number, code, cr2),
            next => next,
        }
    }

    #[cold]
    #[inline(never)]
    fn exception_on_own_time(&mut self, number: u8, code: u64, cr2: u64) -> Option<Next> {
        self.fast_exception_with::<Own>(number, code, cr2)
    }

    #[inline(always)]
    fn fast_exception_with<T: Turn>(&mut self, number: u8, code: u64, cr2: u64) -> Option<Next> {
        match number {
            // It may only want the FPU.
            vector::NM => None,
            vector::PF => {
                let words = Self::page_fault_words(self.current, code, cr2);
                self.fast_fault_with::<T>(fault::VM_FAULT, &words)
            }
            _ => self.fast_fault_with::<T>(fault::USER_EXCEPTION, &[u64::from(number), code]),
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
    fn decide_call<T: Turn>(
        &self,
        caller: Giver,
        (endpoint, badge): (Ref<Endpoint>, u64),
    ) -> Option<Call<T>> {
        let message = Bare::of::<T>(caller.tcb)?;
        let receiver = self.decide_receiver(endpoint)?;
        Some(Call {
            caller,
            endpoint,
            receiver,
            badge,
            message,
        })
    }

    /// The first in the endpoint's queue, if it can answer.
    #[inline(always)]
    fn decide_receiver<T: Turn>(&self, endpoint: Ref<Endpoint>) -> Option<Receiver<T>> {
        let tcb = endpoint.head.get()?;
        if tcb.state.get() != State::BlockedOnReceive || !self.would_run(tcb) {
            return None;
        }
        Some(Receiver {
            tcb,
            turn: T::of_receiver(self, tcb)?,
            reply: tcb.reply.get()?,
            root: self.thread_space(tcb)?,
        })
    }

    #[inline(always)]
    fn perform_call<T: Turn>(&mut self, call: &Call<T>) -> Next {
        let (caller, receiver) = (call.caller, &call.receiver);
        caller.sc.count_message();
        self.move_message::<T>(call.message, caller.tcb, receiver.tcb, call.badge);
        self.hand_over(caller, call.endpoint, receiver);
        self.load_thread(receiver.tcb, receiver.root, receiver.turn.context(caller))
    }

    #[inline(always)]
    fn move_message<T: Turn>(&self, message: Bare, from: Ref<Tcb>, to: Ref<Tcb>, badge: u64) {
        let mut length = message.length();
        Self::move_registers(from, to, length);
        if T::LONG && length > MSG_REGISTERS {
            length = self.move_buffer_words(from, to, length);
        }
        to.context.rsi.set(message.0 & !LENGTH | length as u64);
        to.context.rdi.set(badge);
    }

    /// The receiver leaves its queue and runs; the current thread waits for its answer.
    #[inline(always)]
    fn hand_over<T: Turn>(
        &mut self,
        caller: Giver,
        endpoint: Ref<Endpoint>,
        receiver: &Receiver<T>,
    ) {
        let Receiver {
            tcb, reply, turn, ..
        } = *receiver;
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
        T::push(reply, caller);
        self.pass_turn(caller, tcb, turn);
    }

    /// The processor goes to a thread that is ready to run.
    #[inline(always)]
    fn pass_turn<T: Turn>(&mut self, from: Giver, to: Ref<Tcb>, turn: T) {
        to.state.set(State::Running);
        self.current = to;
        turn.begin(self, from, to);
    }

    /// Delivers an exit of the current thread's guest, if the way is plain. The words are those the long way would be given.
    #[inline(always)]
    pub(crate) fn fast_exit(&mut self, label: u64, words: &[u64]) -> Option<Next> {
        self.fast_fault_with::<Plain>(label, words)
    }

    /// Delivers a fault of the current thread the short way, if it has one. The words are those the long way would be given.
    #[inline(never)]
    pub(crate) fn fast_fault(&mut self, label: u64, words: &[u64]) -> Option<Next> {
        self.fast_fault_with::<Plain>(label, words)
            .or_else(|| self.fast_fault_with::<Own>(label, words))
    }

    #[inline(always)]
    fn fast_fault_with<T: Turn>(&mut self, label: u64, words: &[u64]) -> Option<Next> {
        let delivery = self.decide_delivery::<T>()?;
        Some(self.perform_delivery(&delivery, label, words))
    }

    #[inline(always)]
    fn decide_delivery<T: Turn>(&self) -> Option<Delivery<T>> {
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
    fn perform_delivery<T: Turn>(
        &mut self,
        delivery: &Delivery<T>,
        label: u64,
        words: &[u64],
    ) -> Next {
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
        self.load_thread(tcb, root, delivery.receiver.turn.context(faulter))
    }

    #[inline(always)]
    fn decide_answer<T: Turn>(&self) -> Option<(Answer<T>, Content)> {
        let server = self.giver();
        let message = Bare::of::<T>(server.tcb)?;
        let context = &server.tcb.context;
        let reply = Self::slot_of(server.tcb, context.r12.get())?
            .words()
            .reply()?;
        let (endpoint, rights) = Self::slot_of(server.tcb, context.rdi.get())?
            .words()
            .receivable()?;
        let caller = reply.tcb.get()?;
        let turn = T::of_caller(self, server, reply, caller)?;
        if let Some(notification) = server.tcb.notification.get()
            && notification.is_active()
        {
            return None;
        }
        if endpoint.waiting() == Waiting::Senders || !self.would_run(caller) {
            return None;
        }
        let answer = Answer {
            server,
            message,
            reply,
            caller,
            turn,
            endpoint,
            rights,
        };
        Some((answer, self.decide_content(caller, message)?))
    }

    #[inline(always)]
    fn decide_content(&self, caller: Ref<Tcb>, answer: Bare) -> Option<Content> {
        let end = answer.label();
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
    fn perform_answer<T: Turn>(&mut self, answer: &Answer<T>, content: Content) -> Next {
        let Answer { server, caller, .. } = *answer;
        match content {
            Content::Message(root) => {
                server.sc.count_message();
                self.move_message::<T>(answer.message, server.tcb, caller, 0);
                self.hand_back(answer);
                self.load_thread(caller, root, answer.turn.context(server))
            }
            Content::Restart(root) => self.restart_caller(*answer, root),
            Content::Resume(vcpu) => self.resume_guest(*answer, vcpu),
        }
    }

    #[inline(never)]
    fn restart_caller<T: Turn>(&mut self, answer: Answer<T>, root: Ref<Page>) -> Next {
        self.fault_reply(answer.caller, answer.server.tcb);
        self.end_fault(&answer);
        self.load_thread(answer.caller, root, answer.turn.context(answer.server))
    }

    #[inline(never)]
    fn resume_guest<T: Turn>(&mut self, answer: Answer<T>, vcpu: Ref<Vcpu>) -> Next {
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
    fn end_fault<T: Turn>(&mut self, answer: &Answer<T>) {
        answer.caller.fault.set(Fault::default());
        self.hand_back(answer);
    }

    /// The server gives a lent context back, and waits in the endpoint with the same reply object.
    #[inline(always)]
    fn hand_back<T: Turn>(&mut self, answer: &Answer<T>) {
        let Answer {
            server,
            reply,
            caller,
            turn,
            endpoint,
            rights,
            ..
        } = *answer;
        T::pop(reply, server);
        caller.reply.set(None);
        let waiting = server.tcb;
        waiting.blocked_on.set(endpoint.bits());
        waiting.receiver_can_grant.set(rights.has(Rights::GRANT));
        waiting.reply.set(Some(reply));
        reply.tcb.set(Some(waiting));
        waiting.state.set(State::BlockedOnReceive);
        self.pass_turn(server, caller, turn);
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
