//! Invocations of kernel objects: one file an object.
//!
//! An invocation that fits in registers (four words, no extra capability) never touches the IPC buffer.

mod asid;
mod cnode;
mod irq;
mod mapping;
mod sched;
mod tcb;
mod untyped;

pub use sched::SchedFlags;

use crate::{
    CPtrBits, Cap, CapType, InvocationContext, IpcBuffer, MessageInfo, NUM_FAST_MESSAGE_REGISTERS,
    Result, Word,
    arch::{Registers, syscall},
    error,
    sys::syscall::CALL,
};

/// Capabilities other than the invoked one, by address.
pub(crate) type ExtraCaps<'a> = &'a [CPtrBits];

impl<T: CapType, C: InvocationContext> Cap<T, C> {
    /// Invokes; the result is the reply's first four words.
    #[inline]
    pub(crate) fn invoke(
        self,
        label: Word,
        caps: ExtraCaps<'_>,
        words: &[Word],
    ) -> Result<Registers> {
        let cap = self.bits();
        let info = MessageInfo::new(label, 0, caps.len(), words.len()).word();
        let (_, info, answer) = if caps.is_empty() && words.len() <= NUM_FAST_MESSAGE_REGISTERS {
            syscall(CALL, cap, info, in_registers(words))
        } else {
            self.with_context(|buffer| {
                put(buffer, caps, words);
                syscall(CALL, cap, info, in_registers(words))
            })
        };
        error::from_label(MessageInfo::from_word(info).label()).map(|()| answer)
    }

    /// Invokes; the reply's words go to `answer`, as many as there are and fit, and the result is their number.
    pub(crate) fn invoke_into(
        self,
        label: Word,
        caps: ExtraCaps<'_>,
        words: &[Word],
        answer: &mut [Word],
    ) -> Result<usize> {
        let cap = self.bits();
        let info = MessageInfo::new(label, 0, caps.len(), words.len()).word();
        self.with_context(|buffer| {
            put(buffer, caps, words);
            let (_, info, registers) = syscall(CALL, cap, info, in_registers(words));
            let info = MessageInfo::from_word(info);
            error::from_label(info.label())?;
            buffer.msg_regs_mut()[..registers.len()].copy_from_slice(&registers);
            let count = info.length().min(answer.len());
            answer[..count].copy_from_slice(&buffer.msg_regs()[..count]);
            Ok(count)
        })
    }
}

#[inline]
fn in_registers(words: &[Word]) -> Registers {
    let mut registers = [0; NUM_FAST_MESSAGE_REGISTERS];
    let count = words.len().min(NUM_FAST_MESSAGE_REGISTERS);
    registers[..count].copy_from_slice(&words[..count]);
    registers
}

/// Extra capabilities and the words beyond the registers.
fn put(buffer: &mut IpcBuffer, caps: ExtraCaps<'_>, words: &[Word]) {
    buffer.caps_or_badges_mut()[..caps.len()].copy_from_slice(caps);
    if let Some(rest) = words.get(NUM_FAST_MESSAGE_REGISTERS..) {
        buffer.msg_regs_mut()[NUM_FAST_MESSAGE_REGISTERS..words.len()].copy_from_slice(rest);
    }
}

/// What host tests of invocations record: (capability, label, extra capabilities, words).
#[cfg(test)]
pub(crate) mod recorder {
    use crate::{
        IpcBuffer, MessageInfo, Word,
        arch::stand_in::{Entry, install},
        set_ipc_buffer, with_ipc_buffer,
    };
    use std::{cell::RefCell, rc::Rc};

    pub(crate) type Invocation = (Word, Word, Vec<Word>, Vec<Word>);

    /// Gives the thread a buffer.
    pub(crate) fn buffer() -> &'static mut IpcBuffer {
        Box::leak(Box::new(IpcBuffer::from_inner(
            sel4_abi::message::IpcBuffer {
                tag: 0,
                msg: [0; 120],
                user_data: 0,
                caps_or_badges: [0; 3],
                receive_cnode: 0,
                receive_index: 0,
                receive_depth: 0,
            },
        )))
    }

    fn decode(entry: Entry, buffer: *const IpcBuffer) -> Invocation {
        let info = MessageInfo::from_word(entry.info);
        #[expect(unsafe_code, reason = "the buffer by its address")]
        // SAFETY: the buffer is leaked, and the invocation that uses it is in its system call now.
        let buffer = unsafe { &*buffer };
        let mut words = buffer.msg_regs().to_vec();
        words[..4].copy_from_slice(&entry.mrs);
        words.truncate(info.length());
        (
            entry.cap,
            info.label(),
            buffer.caps_or_badges()[..info.extra_caps()].to_vec(),
            words,
        )
    }

    /// Records what `body` invokes; each invocation is answered with `answer`.
    pub(crate) fn record(label: Word, answer: &[Word], body: impl FnOnce()) -> Vec<Invocation> {
        set_ipc_buffer(buffer());
        let address = with_ipc_buffer(|buffer| std::ptr::from_ref(buffer).cast_mut());
        let log = Rc::new(RefCell::new(Vec::new()));
        let (kernel, answer) = (log.clone(), answer.to_vec());
        install(move |entry| {
            assert_eq!(entry.number, -1);
            kernel.borrow_mut().push(decode(entry, address));
            let mut registers = [0; 4];
            for (i, word) in answer.iter().enumerate() {
                match registers.get_mut(i) {
                    Some(register) => *register = *word,
                    #[expect(unsafe_code, reason = "the buffer by its address")]
                    // SAFETY: as above; the caller reads the words only after the system call.
                    None => unsafe { (*address).msg_regs_mut()[i] = *word },
                }
            }
            (
                0,
                MessageInfo::new(label, 0, 0, answer.len()).word(),
                registers,
            )
        });
        body();
        log.take()
    }
}
