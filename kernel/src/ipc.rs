//! Moving a message from one thread to another: words, capabilities, badge.

use crate::cap::{Cap, Words};
use crate::kernel::{Done, Fail, Kernel, Message};
use crate::machine::Machine;
use crate::mem::Ref;
use crate::object::tcb::slots;
use crate::object::{Endpoint, Tcb};
use crate::slot::{self, Slot};
use sel4_abi::message::MessageInfo;
use sel4_abi::{Error, LookupFailure, MSG_MAX_EXTRA_CAPS, MSG_MAX_LENGTH, MSG_REGISTERS};

impl<M: Machine> Kernel<M> {
    /// Transfers `sender`'s message, or its fault, to `receiver`.
    pub(crate) fn transfer(
        &mut self,
        sender: Ref<Tcb>,
        endpoint: Option<Ref<Endpoint>>,
        badge: u64,
        grant: bool,
        receiver: Ref<Tcb>,
    ) {
        self.current_sc.count_message();
        let info = if sender.fault.get().label != 0 && endpoint.is_some() {
            self.transfer_fault(sender, receiver)
        } else {
            self.transfer_words(sender, endpoint, grant, receiver)
        };
        receiver.context.rsi.set(info.word());
        receiver.context.rdi.set(badge);
    }

    fn transfer_words(
        &mut self,
        sender: Ref<Tcb>,
        endpoint: Option<Ref<Endpoint>>,
        grant: bool,
        receiver: Ref<Tcb>,
    ) -> MessageInfo {
        let info = MessageInfo::from_word(sender.context.rsi.get());
        let mut length = info.length();
        Self::move_registers(sender, receiver, length);
        if length > MSG_REGISTERS {
            length = self.move_buffer_words(sender, receiver, length);
        }
        if grant && info.extra_caps() > 0 {
            return self.transfer_caps(sender, endpoint, receiver, info, length);
        }
        MessageInfo::new(info.label(), 0, 0, length as u64)
    }

    /// Moves the words of a message that are in registers, if it is so long.
    #[inline(always)]
    pub(crate) fn move_registers(sender: Ref<Tcb>, receiver: Ref<Tcb>, length: usize) {
        for n in 0..MSG_REGISTERS {
            if n == length {
                break;
            }
            receiver.set_mr(n, sender.mr(n));
        }
    }

    /// Moves the words that are in no registers; how many arrive with those that are.
    pub(crate) fn move_buffer_words(
        &self,
        sender: Ref<Tcb>,
        receiver: Ref<Tcb>,
        length: usize,
    ) -> usize {
        let (Some(from), Some(to)) = (
            self.ipc_buffer(sender, false),
            self.ipc_buffer(receiver, true),
        ) else {
            return MSG_REGISTERS;
        };
        let length = length.min(MSG_MAX_LENGTH);
        for n in MSG_REGISTERS..length {
            to.msg[n].set(from.msg[n].get());
        }
        length
    }

    /// Extra capabilities: those of the very endpoint arrive as badges, the first other one goes to the receive slot.
    fn transfer_caps(
        &mut self,
        sender: Ref<Tcb>,
        endpoint: Option<Ref<Endpoint>>,
        receiver: Ref<Tcb>,
        info: MessageInfo,
        length: usize,
    ) -> MessageInfo {
        let plain = MessageInfo::new(info.label(), 0, 0, length as u64);
        let Ok(extras) = self.extra_caps(sender, info) else {
            return plain;
        };
        let Some(to) = self.ipc_buffer(receiver, true) else {
            return plain;
        };
        let mut target = self.receive_slot(receiver);
        let (mut unwrapped, mut count) = (0, 0);
        for (n, source) in extras.into_iter().flatten().enumerate() {
            let cap = source.cap();
            match cap {
                Cap::Endpoint { object, badge, .. } if Some(object) == endpoint => {
                    to.caps_or_badges[n].set(badge);
                    unwrapped |= 1 << n;
                }
                _ => {
                    let Some(slot) = target.take() else { break };
                    let Ok(cap) = self.derive(source, cap) else {
                        break;
                    };
                    slot::insert(cap, source, slot);
                }
            }
            count = n as u64 + 1;
        }
        MessageInfo::new(info.label(), unwrapped, count, length as u64)
    }

    /// The slot a thread receives into, if it named an empty one.
    fn receive_slot(&self, receiver: Ref<Tcb>) -> Option<Ref<Slot>> {
        let buffer = self.ipc_buffer(receiver, true)?;
        let root = self
            .lookup_thread_slot(receiver, buffer.receive_cnode.get())
            .ok()?
            .words();
        let (index, depth) = (buffer.receive_index.get(), buffer.receive_depth.get());
        let slot = self.lookup_slot(root, index, depth, false).ok()?;
        slot.is_empty().then_some(slot)
    }

    /// The slots of a message's extra capabilities; `Err` names the address that led nowhere.
    #[inline(always)]
    pub(crate) fn extra_caps(
        &self,
        sender: Ref<Tcb>,
        info: MessageInfo,
    ) -> Result<[Option<Ref<Slot>>; MSG_MAX_EXTRA_CAPS], (u64, LookupFailure)> {
        match info.extra_caps() {
            0 => Ok([None; MSG_MAX_EXTRA_CAPS]),
            // Hardly anything takes more than one.
            1 => {
                let Some(buffer) = self.ipc_buffer(sender, false) else {
                    return Ok([None; MSG_MAX_EXTRA_CAPS]);
                };
                let address = buffer.caps_or_badges[0].get();
                match self.lookup_thread_slot(sender, address) {
                    Ok(slot) => Ok([Some(slot), None, None]),
                    Err(failure) => Err((address, failure)),
                }
            }
            _ => self.find_extra_caps(sender, info),
        }
    }

    #[inline(never)]
    fn find_extra_caps(
        &self,
        sender: Ref<Tcb>,
        info: MessageInfo,
    ) -> Result<[Option<Ref<Slot>>; MSG_MAX_EXTRA_CAPS], (u64, LookupFailure)> {
        let mut slots = [None; MSG_MAX_EXTRA_CAPS];
        let Some(buffer) = self.ipc_buffer(sender, false) else {
            return Ok(slots);
        };
        for (n, slot) in slots.iter_mut().enumerate().take(info.extra_caps()) {
            let address = buffer.caps_or_badges[n].get();
            *slot = Some(
                self.lookup_thread_slot(sender, address)
                    .map_err(|failure| (address, failure))?,
            );
        }
        Ok(slots)
    }

    /// Writes an invocation's result to the thread that called.
    #[inline(always)]
    pub(crate) fn answer(&mut self, tcb: Ref<Tcb>, done: Done) {
        match done {
            Done::Silent => {}
            Done::Empty => {
                tcb.context.rdi.set(0);
                tcb.context.rsi.set(MessageInfo::new(0, 0, 0, 0).word());
            }
            Done::Words(words, count) => {
                for (n, &word) in words.iter().enumerate().take(count) {
                    tcb.set_mr(n, word);
                }
                tcb.context.rdi.set(0);
                tcb.context
                    .rsi
                    .set(MessageInfo::new(0, 0, 0, count as u64).word());
            }
        }
    }

    /// Answers the running thread's invocation `msg` with words of which there may be more than registers.
    pub(crate) fn answer_long(&mut self, msg: &Message, words: &[u64]) -> Done {
        if msg.is_call {
            self.answer_words(self.current, 0, words);
        }
        Done::Silent
    }

    /// Writes an error reply.
    pub(crate) fn answer_error(&mut self, tcb: Ref<Tcb>, error: Error, words: &[u64]) {
        self.answer_words(tcb, error as u64, words);
    }

    #[inline(never)]
    fn answer_words(&mut self, tcb: Ref<Tcb>, label: u64, words: &[u64]) {
        let length = self.put_words(tcb, words);
        tcb.context.rdi.set(0);
        tcb.context
            .rsi
            .set(MessageInfo::new(label, 0, 0, length as u64).word());
    }

    /// Writes the words of a message to the thread that gets it; how many arrive.
    #[inline(always)]
    pub(crate) fn put_words(&self, tcb: Ref<Tcb>, words: &[u64]) -> usize {
        for (n, &word) in words.iter().enumerate().take(MSG_REGISTERS) {
            tcb.set_mr(n, word);
        }
        if words.len() <= MSG_REGISTERS {
            return words.len();
        }
        let Some(buffer) = self.ipc_buffer(tcb, true) else {
            return MSG_REGISTERS;
        };
        let rest = &words[MSG_REGISTERS..];
        for (to, &word) in buffer.msg[MSG_REGISTERS..].iter().zip(rest) {
            to.set(word);
        }
        words.len()
    }

    /// Resolves an address in a thread's CSpace.
    #[inline(always)]
    pub(crate) fn lookup_thread_slot(
        &self,
        tcb: Ref<Tcb>,
        address: u64,
    ) -> Result<Ref<Slot>, LookupFailure> {
        let root = tcb.slots[slots::CSPACE].words();
        match crate::cspace::single_level(root, address) {
            Some(slot) => Ok(slot),
            None => crate::cspace::resolve_thread(root, address),
        }
    }

    /// Resolves (index, depth) under `root` for a CNode operation.
    pub(crate) fn lookup_slot(
        &self,
        root: Words,
        index: u64,
        depth: u64,
        source: bool,
    ) -> Result<Ref<Slot>, Fail> {
        if depth == 64
            && let Some(slot) = crate::cspace::single_level(root, index)
        {
            return Ok(slot);
        }
        if root.cnode().is_none() {
            return Err(Fail::lookup(source, LookupFailure::InvalidRoot));
        }
        if !(1..=64).contains(&depth) {
            return Err(Fail::range(1, 64));
        }
        let found = crate::cspace::resolve(root, index, depth as u32)
            .map_err(|failure| Fail::lookup(source, failure))?;
        if found.bits_left != 0 {
            let failure = LookupFailure::DepthMismatch {
                bits_left: u64::from(found.bits_left),
                bits_found: 0,
            };
            return Err(Fail::lookup(source, failure));
        }
        Ok(found.slot)
    }

    /// The empty slot (index, depth) under `root`.
    pub(crate) fn lookup_empty(
        &self,
        root: Words,
        index: u64,
        depth: u64,
    ) -> Result<Ref<Slot>, Fail> {
        let slot = self.lookup_slot(root, index, depth, false)?;
        if slot.is_empty() {
            Ok(slot)
        } else {
            Err(Fail::error(Error::DeleteFirst))
        }
    }

    /// What may be copied (docs/objects/cnode.md), or why not.
    pub(crate) fn derive(&self, slot: Ref<Slot>, cap: Cap) -> Result<Cap, Fail> {
        match cap {
            Cap::Null | Cap::Zombie { .. } | Cap::IrqControl | Cap::IoPortControl => {
                Err(Fail::error(Error::IllegalOperation))
            }
            // Below its watermark the copy is zeroed before it is used, as the original would have been.
            Cap::Untyped { .. } if slot::has_children(slot) => Err(Fail::error(Error::RevokeFirst)),
            Cap::Table { mapping: None, .. } => Err(Fail::error(Error::IllegalOperation)),
            Cap::Frame {
                base,
                size,
                device,
                rights,
                ..
            } => Ok(Cap::Frame {
                base,
                size,
                device,
                rights,
                mapping: None,
            }),
            other => Ok(other),
        }
    }
}
