//! System calls: messages and time.
//!
//! Methods named `…_with_mrs` move up to four words in registers and never touch the IPC buffer; the others take message
//! words from the calling thread's buffer and leave them there.

use crate::{
    Badge, Cap, CapType, InvocationContext, IpcBuffer, MessageInfo, NUM_FAST_MESSAGE_REGISTERS,
    Word,
    arch::{Registers, Returned, syscall, syscall_reply, syscall_reply_to},
    cap,
    sys::syscall as number,
};

/// Whom a later reply goes to: the reply object given with a receive.
pub type ReplyAuthority<C = crate::NoExplicitInvocationContext> = cap::Reply<C>;

/// What a wait on a notification returns beside the badge.
pub type WaitMessageInfo = MessageInfo;

/// What says where the right to reply goes.
pub trait ConveysReplyAuthority {
    /// The reply object.
    fn into_reply_authority(self) -> cap::Reply<crate::NoInvocationContext>;
}

impl<C> ConveysReplyAuthority for cap::Reply<C> {
    fn into_reply_authority(self) -> cap::Reply<crate::NoInvocationContext> {
        self.without_context()
    }
}

/// Up to four message words.
pub trait FastMessages {
    /// The words, zeros after the last.
    fn prepare_in(self) -> [Word; NUM_FAST_MESSAGE_REGISTERS];
}

impl<const N: usize> FastMessages for [Word; N] {
    #[inline]
    fn prepare_in(self) -> [Word; NUM_FAST_MESSAGE_REGISTERS] {
        const { assert!(N <= NUM_FAST_MESSAGE_REGISTERS) };
        let mut words = [0; NUM_FAST_MESSAGE_REGISTERS];
        words[..N].copy_from_slice(&self);
        words
    }
}

impl FastMessages for &[Word] {
    /// # Panics
    ///
    /// If there are more than four.
    #[inline]
    fn prepare_in(self) -> [Word; NUM_FAST_MESSAGE_REGISTERS] {
        let mut words = [0; NUM_FAST_MESSAGE_REGISTERS];
        words[..self.len()].copy_from_slice(self);
        words
    }
}

/// A received message in registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecvWithMRs {
    /// Label, counts, length.
    pub info: MessageInfo,
    /// Of the capability it was sent through.
    pub badge: Badge,
    /// The first four words.
    pub msg: [Word; NUM_FAST_MESSAGE_REGISTERS],
}

/// A reply in registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallWithMRs {
    /// Label, counts, length.
    pub info: MessageInfo,
    /// The first four words.
    pub msg: [Word; NUM_FAST_MESSAGE_REGISTERS],
}

fn load(buffer: &IpcBuffer) -> Registers {
    let words = buffer.msg_regs();
    [words[0], words[1], words[2], words[3]]
}

fn store(buffer: &mut IpcBuffer, (badge, info, words): Returned) -> (MessageInfo, Badge) {
    buffer.msg_regs_mut()[..words.len()].copy_from_slice(&words);
    (MessageInfo::from_word(info), badge)
}

#[inline]
const fn received((badge, info, msg): Returned) -> RecvWithMRs {
    RecvWithMRs {
        info: MessageInfo::from_word(info),
        badge,
        msg,
    }
}

impl<T: CapType, C: InvocationContext> Cap<T, C> {
    /// Sends; waits for a receiver. libsel4: `seL4_Send`.
    pub fn send(self, info: MessageInfo) {
        let cap = self.bits();
        self.with_context(|buffer| syscall(number::SEND, cap, info.word(), load(buffer)));
    }
    /// Sends if a receiver waits. libsel4: `seL4_NBSend`.
    pub fn nb_send(self, info: MessageInfo) {
        let cap = self.bits();
        self.with_context(|buffer| syscall(number::NB_SEND, cap, info.word(), load(buffer)));
    }
    /// Sends and waits for the reply. libsel4: `seL4_Call`.
    #[must_use]
    pub fn call(self, info: MessageInfo) -> MessageInfo {
        let cap = self.bits();
        self.with_context(|buffer| {
            let returned = syscall(number::CALL, cap, info.word(), load(buffer));
            store(buffer, returned).0
        })
    }
    /// Receives. libsel4: `seL4_Recv`.
    pub fn recv(self, reply: impl ConveysReplyAuthority) -> (MessageInfo, Badge) {
        let (cap, reply) = (self.bits(), reply.into_reply_authority().bits());
        self.with_context(|buffer| {
            let returned = syscall_reply(number::RECV, cap, 0, [0; 4], reply);
            store(buffer, returned)
        })
    }
    /// Receives if a sender waits; the badge is 0 if none does. libsel4: `seL4_NBRecv`.
    pub fn nb_recv(self, reply: impl ConveysReplyAuthority) -> (MessageInfo, Badge) {
        let (cap, reply) = (self.bits(), reply.into_reply_authority().bits());
        self.with_context(|buffer| {
            let returned = syscall_reply(number::NB_RECV, cap, 0, [0; 4], reply);
            store(buffer, returned)
        })
    }
    /// Replies through `reply`, then receives. libsel4: `seL4_ReplyRecv`.
    pub fn reply_recv(
        self,
        info: MessageInfo,
        reply: impl ConveysReplyAuthority,
    ) -> (MessageInfo, Badge) {
        let (cap, reply) = (self.bits(), reply.into_reply_authority().bits());
        self.with_context(|buffer| {
            let returned = syscall_reply(number::REPLY_RECV, cap, info.word(), load(buffer), reply);
            store(buffer, returned)
        })
    }
    /// Sends through this capability if a receiver waits, then receives from `source`. libsel4: `seL4_NBSendRecv`.
    pub fn nb_send_recv<U: CapType, C1>(
        self,
        info: MessageInfo,
        source: Cap<U, C1>,
        reply: impl ConveysReplyAuthority,
    ) -> (MessageInfo, Badge) {
        let (cap, source, reply) = (
            self.bits(),
            source.bits(),
            reply.into_reply_authority().bits(),
        );
        self.with_context(|buffer| {
            let returned = syscall_reply_to(
                number::NB_SEND_RECV,
                source,
                info.word(),
                load(buffer),
                reply,
                cap,
            );
            store(buffer, returned)
        })
    }
    /// Sends through this capability if a receiver waits, then waits on `source` without a reply object.
    /// libsel4: `seL4_NBSendWait`.
    pub fn nb_send_wait<U: CapType, C1>(
        self,
        info: MessageInfo,
        source: Cap<U, C1>,
    ) -> (MessageInfo, Badge) {
        let (cap, source) = (self.bits(), source.bits());
        self.with_context(|buffer| {
            let returned =
                syscall_reply(number::NB_SEND_WAIT, source, info.word(), load(buffer), cap);
            store(buffer, returned)
        })
    }
}

impl<T: CapType, C> Cap<T, C> {
    /// [`send`](Self::send) in registers. libsel4: `seL4_SendWithMRs`.
    #[inline]
    pub fn send_with_mrs(self, info: MessageInfo, msg: impl FastMessages) {
        syscall(number::SEND, self.bits(), info.word(), msg.prepare_in());
    }
    /// [`nb_send`](Self::nb_send) in registers. libsel4: `seL4_NBSendWithMRs`.
    #[inline]
    pub fn nb_send_with_mrs(self, info: MessageInfo, msg: impl FastMessages) {
        syscall(number::NB_SEND, self.bits(), info.word(), msg.prepare_in());
    }
    /// [`call`](Self::call) in registers. libsel4: `seL4_CallWithMRs`.
    #[must_use]
    #[inline]
    pub fn call_with_mrs(self, info: MessageInfo, msg: impl FastMessages) -> CallWithMRs {
        let (_, info, msg) = syscall(number::CALL, self.bits(), info.word(), msg.prepare_in());
        CallWithMRs {
            info: MessageInfo::from_word(info),
            msg,
        }
    }
    /// [`recv`](Self::recv) in registers. libsel4: `seL4_RecvWithMRs`.
    #[inline]
    pub fn recv_with_mrs(self, reply: impl ConveysReplyAuthority) -> RecvWithMRs {
        received(syscall_reply(
            number::RECV,
            self.bits(),
            0,
            [0; 4],
            reply.into_reply_authority().bits(),
        ))
    }
    /// [`nb_recv`](Self::nb_recv) in registers. libsel4: `seL4_NBRecvWithMRs`.
    #[inline]
    pub fn nb_recv_with_mrs(self, reply: impl ConveysReplyAuthority) -> RecvWithMRs {
        received(syscall_reply(
            number::NB_RECV,
            self.bits(),
            0,
            [0; 4],
            reply.into_reply_authority().bits(),
        ))
    }
    /// [`reply_recv`](Self::reply_recv) in registers. libsel4: `seL4_ReplyRecvWithMRs`.
    #[inline]
    pub fn reply_recv_with_mrs(
        self,
        info: MessageInfo,
        msg: impl FastMessages,
        reply: impl ConveysReplyAuthority,
    ) -> RecvWithMRs {
        let reply = reply.into_reply_authority().bits();
        received(syscall_reply(
            number::REPLY_RECV,
            self.bits(),
            info.word(),
            msg.prepare_in(),
            reply,
        ))
    }
    /// [`nb_send_recv`](Self::nb_send_recv) in registers. libsel4: `seL4_NBSendRecvWithMRs`.
    #[inline]
    pub fn nb_send_recv_with_mrs<U: CapType, C1>(
        self,
        info: MessageInfo,
        msg: impl FastMessages,
        source: Cap<U, C1>,
        reply: impl ConveysReplyAuthority,
    ) -> RecvWithMRs {
        let reply = reply.into_reply_authority().bits();
        let words = msg.prepare_in();
        received(syscall_reply_to(
            number::NB_SEND_RECV,
            source.bits(),
            info.word(),
            words,
            reply,
            self.bits(),
        ))
    }
    /// [`nb_send_wait`](Self::nb_send_wait) in registers. libsel4: `seL4_NBSendWaitWithMRs`.
    #[inline]
    pub fn nb_send_wait_with_mrs<U: CapType, C1>(
        self,
        info: MessageInfo,
        msg: impl FastMessages,
        source: Cap<U, C1>,
    ) -> RecvWithMRs {
        received(syscall_reply(
            number::NB_SEND_WAIT,
            source.bits(),
            info.word(),
            msg.prepare_in(),
            self.bits(),
        ))
    }
}

impl<C> cap::Notification<C> {
    /// Signals. libsel4: `seL4_Signal`.
    #[inline]
    pub fn signal(self) {
        syscall(number::SEND, self.bits(), 0, [0; 4]);
    }
    /// Waits for a signal; the badge is the sum of the signals' bits. libsel4: `seL4_Wait`.
    #[inline]
    pub fn wait(self) -> (WaitMessageInfo, Badge) {
        let (badge, info, _) = syscall(number::WAIT, self.bits(), 0, [0; 4]);
        (MessageInfo::from_word(info), badge)
    }
    /// Takes the signals that are there; the badge is 0 if none is. libsel4: `seL4_Poll`.
    #[inline]
    pub fn poll(self) -> (MessageInfo, Badge) {
        let (badge, info, _) = syscall(number::NB_WAIT, self.bits(), 0, [0; 4]);
        (MessageInfo::from_word(info), badge)
    }
}

impl<C> cap::Reply<C> {
    /// Answers the caller, without receiving again.
    #[inline]
    pub fn reply_with_mrs(self, info: MessageInfo, msg: impl FastMessages) {
        self.send_with_mrs(info, msg);
    }
}

/// Gives up the rest of the budget's present refill. libsel4: `seL4_Yield`.
pub fn r#yield() {
    syscall(number::YIELD, 0, 0, [0; 4]);
}

/// Sets the calling thread's FS base. libsel4: `seL4_SetTLSBase`.
pub fn set_tls_base(addr: usize) {
    syscall(number::SET_TLS_BASE, addr as Word, 0, [0; 4]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::stand_in::{Entry, install};
    use std::{cell::RefCell, rc::Rc};

    fn recorder() -> Rc<RefCell<Vec<Entry>>> {
        let log = Rc::new(RefCell::new(Vec::new()));
        let kernel = log.clone();
        install(move |entry| {
            kernel.borrow_mut().push(entry);
            (77, MessageInfo::new(5, 0, 0, 2).word(), [1, 2, 3, 4])
        });
        log
    }

    #[test]
    fn a_call_in_registers_takes_and_brings_four_words() {
        let log = recorder();
        let answer =
            cap::Endpoint::from_bits(9).call_with_mrs(MessageInfo::new(3, 0, 0, 2), [10, 11]);
        assert_eq!(
            answer,
            CallWithMRs {
                info: MessageInfo::new(5, 0, 0, 2),
                msg: [1, 2, 3, 4]
            }
        );
        let entry = log.borrow()[0];
        assert_eq!(
            (entry.number, entry.cap, entry.info, entry.mrs),
            (-1, 9, 0x3002, [10, 11, 0, 0])
        );
    }

    #[test]
    fn receiving_names_the_reply_object_in_r12() {
        let log = recorder();
        let (endpoint, reply) = (cap::Endpoint::from_bits(9), cap::Reply::from_bits(8));
        let message = endpoint.recv_with_mrs(reply);
        assert_eq!((message.badge, message.msg), (77, [1, 2, 3, 4]));
        endpoint.reply_recv_with_mrs(MessageInfo::default(), [6], reply);
        let entries = log.borrow();
        assert_eq!(
            (entries[0].number, entries[0].cap, entries[0].r12),
            (-7, 9, 8)
        );
        assert_eq!(
            (
                entries[1].number,
                entries[1].cap,
                entries[1].r12,
                entries[1].mrs[0]
            ),
            (-2, 9, 8, 6)
        );
    }

    #[test]
    fn the_second_destination_of_a_send_and_receive_is_in_r13_and_that_of_a_send_and_wait_in_r12() {
        let log = recorder();
        let (ready, endpoint) = (cap::Notification::from_bits(3), cap::Endpoint::from_bits(9));
        ready.nb_send_recv_with_mrs(
            MessageInfo::default(),
            [],
            endpoint,
            cap::Reply::from_bits(8),
        );
        ready.nb_send_wait_with_mrs(MessageInfo::default(), [], endpoint);
        let entries = log.borrow();
        let [first, second] = [entries[0], entries[1]];
        assert_eq!(
            (first.number, first.cap, first.r12, first.r13),
            (-3, 9, 8, 3)
        );
        assert_eq!((second.number, second.cap, second.r12), (-4, 9, 3));
    }

    #[test]
    fn a_receive_through_the_buffer_leaves_the_register_words_there() {
        recorder();
        let buffer = crate::invocations::recorder::buffer();
        let (info, badge) = cap::Endpoint::from_bits(9)
            .with(&mut *buffer)
            .recv(cap::Reply::from_bits(1));
        assert_eq!((info.label(), badge), (5, 77));
        assert_eq!(buffer.msg_regs()[..5], [1, 2, 3, 4, 0]);
    }
}
