//! The kernel's state, and the words that pass between system calls and objects: message, outcome, failure.

use crate::machine::Machine;
use crate::mem::{Buffer, Link, Ref};
use crate::object::{AsidPool, SchedContext, Tcb, Vcpu};
use crate::sched::Queues;
use crate::slot::Slot;
use core::mem::offset_of;
use sel4_abi::{Error, LookupFailure, MSG_REGISTERS};
use words::Hpa;

/// Number of user interrupt vectors.
pub const IRQS: usize = 108;
/// Units of a long operation between two looks whether an interrupt waits.
const UNITS_A_LOOK: u32 = 8;
/// Number of ASID pools.
pub const ASID_POOLS: usize = 8;

/// Who runs after the kernel's present work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// The current thread goes on.
    Keep,
    /// The highest ready thread.
    Choose,
    /// This one, unless a higher one is ready.
    Candidate(Ref<Tcb>),
}

/// Whose FPU state the registers hold: where it is saved, 0 for nobody's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FpuOwner(u64);

impl FpuOwner {
    /// Nobody's.
    pub(crate) const NONE: Self = Self(0);

    /// A user thread's.
    pub(crate) const fn thread(tcb: Ref<Tcb>) -> Self {
        Self(tcb.bits() + offset_of!(Tcb, fpu) as u64)
    }
    /// A guest's.
    pub(crate) const fn guest(vcpu: Ref<Vcpu>) -> Self {
        Self(vcpu.bits() + offset_of!(Vcpu, fpu) as u64)
    }
    /// Where it is saved.
    pub(crate) const fn area(self) -> Option<Hpa> {
        match self.0 {
            0 => None,
            area => Some(Hpa::new(area)),
        }
    }
}

/// One interrupt line that a handler capability was issued for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Irq {
    pub route: Option<crate::machine::IrqRoute>,
    /// Issued: a handler capability exists.
    pub active: bool,
}

/// The kernel.
pub struct Kernel<M: Machine> {
    pub(crate) machine: M,
    pub(crate) current: Ref<Tcb>,
    pub(crate) idle: Ref<Tcb>,
    pub(crate) current_sc: Ref<SchedContext>,
    pub(crate) action: Action,
    pub(crate) now: u64,
    pub(crate) consumed: u64,
    pub(crate) reprogram: bool,
    pub(crate) queues: Queues,
    pub(crate) fpu_owner: FpuOwner,
    pub(crate) irqs: [Irq; IRQS],
    /// Page of slots: the notification capability of each interrupt.
    pub(crate) irq_slots: u64,
    pub(crate) ports: [u64; 1024],
    pub(crate) asid_pools: [Link<AsidPool>; ASID_POOLS],
    pub(crate) kernel_pml4: Ref<crate::mem::Page>,
    /// Its first entry that every address space shares: those between the user's half and it are empty.
    pub(crate) first_shared: usize,
    pub(crate) loaded_space: u64,
    /// The thread whose TLS bases and CR0.TS are loaded; 0 for nobody's.
    pub(crate) loaded_thread: u64,
    /// Whose TLS bases the processor has, newer than its context's, where threads set them; the idle thread for nobody's.
    pub(crate) bases_of: Ref<Tcb>,
    pub(crate) work_units: u32,
    /// Where an interrupted cancellation of badged sends goes on.
    pub(crate) cancelling: Option<crate::object::endpoint::Cancelling>,
    pub(crate) tags: crate::object::vcpu::Tags,
}

/// A message as the kernel reads it: an invocation's arguments.
pub struct Message {
    /// Label.
    pub label: u64,
    /// Number of words.
    pub length: usize,
    pub(crate) registers: [u64; MSG_REGISTERS],
    pub(crate) buffer: Option<Ref<Buffer>>,
    pub(crate) extras: [Option<Ref<Slot>>; 3],
    /// Whether the caller waits for a reply.
    pub is_call: bool,
}

impl Message {
    /// Word `n`; words that are not there read as 0.
    #[must_use]
    pub fn word(&self, n: usize) -> u64 {
        if n < MSG_REGISTERS {
            self.registers[n]
        } else {
            self.buffer.map_or(0, |buffer| buffer.msg[n].get())
        }
    }
    /// Fails with TruncatedMessage unless there are `words` words and `caps` extra capabilities.
    pub fn need(&self, words: usize, caps: usize) -> Result<(), Fail> {
        let enough = self.length >= words && self.extras.iter().take(caps).all(Option::is_some);
        if enough {
            Ok(())
        } else {
            Err(Fail::error(Error::TruncatedMessage))
        }
    }
    /// Extra capability `n`, after [`need`](Self::need) said it is there.
    #[must_use]
    pub fn extra(&self, n: usize) -> Ref<Slot> {
        self.extras[n].expect("checked by `need`")
    }
}

/// A finished invocation.
pub enum Done {
    /// Success, no words.
    Empty,
    /// Success with words that fit in registers.
    Words([u64; MSG_REGISTERS], usize),
    /// Success; nothing is written to the caller (it was answered already, or will be later).
    Silent,
}

impl Done {
    /// Success with these words; [`Kernel::answer_long`] is for more than fit in registers.
    #[must_use]
    #[inline(always)]
    pub fn words<const N: usize>(words: &[u64; N]) -> Self {
        const { assert!(N <= MSG_REGISTERS) };
        let mut all = [0; MSG_REGISTERS];
        all[..N].copy_from_slice(words);
        Self::Words(all, N)
    }
}

/// A system call that was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fail {
    /// An error reply.
    Error {
        /// Its label.
        error: Error,
        /// Its words.
        words: [u64; 5],
        /// How many.
        length: usize,
    },
    /// A long operation stopped at a preemption point: the call is done again later.
    Preempted,
}

impl Fail {
    /// An error without words.
    #[must_use]
    pub const fn error(error: Error) -> Self {
        Self::Error {
            error,
            words: [0; 5],
            length: 0,
        }
    }
    /// InvalidArgument naming argument `n`.
    #[must_use]
    pub const fn argument(n: u64) -> Self {
        Self::Error {
            error: Error::InvalidArgument,
            words: [n, 0, 0, 0, 0],
            length: 1,
        }
    }
    /// InvalidCapability naming capability `n` (0 the invoked one).
    #[must_use]
    pub const fn capability(n: u64) -> Self {
        Self::Error {
            error: Error::InvalidCapability,
            words: [n, 0, 0, 0, 0],
            length: 1,
        }
    }
    /// RangeError with the allowed range.
    #[must_use]
    pub const fn range(min: u64, max: u64) -> Self {
        Self::Error {
            error: Error::RangeError,
            words: [min, max, 0, 0, 0],
            length: 2,
        }
    }
    /// NotEnoughMemory with the bytes left.
    #[must_use]
    pub const fn memory(left: u64) -> Self {
        Self::Error {
            error: Error::NotEnoughMemory,
            words: [left, 0, 0, 0, 0],
            length: 1,
        }
    }
    /// FailedLookup.
    #[must_use]
    pub fn lookup(source: bool, failure: LookupFailure) -> Self {
        let (description, count) = failure.words();
        let mut words = [0; 5];
        words[0] = u64::from(source);
        words[1..].copy_from_slice(&description);
        Self::Error {
            error: Error::FailedLookup,
            words,
            length: 1 + count,
        }
    }
}

/// What an invocation comes to.
pub type Outcome = Result<Done, Fail>;

impl<M: Machine> Kernel<M> {
    /// The processor.
    pub fn machine(&mut self) -> &mut M {
        &mut self.machine
    }
    /// The running thread.
    #[must_use]
    pub fn current(&self) -> Ref<Tcb> {
        self.current
    }

    /// A unit was a big one: the next preemption point looks.
    pub(crate) fn note_big_unit(&mut self) {
        self.work_units = UNITS_A_LOOK - 1;
    }

    /// One unit of a long operation; fails when an interrupt should be taken first. How much a unit may be, and so how long an
    /// interrupt may wait: docs/performance.md.
    pub(crate) fn preemption_point(&mut self) -> Result<(), Fail> {
        self.work_units += 1;
        if self.work_units < UNITS_A_LOOK {
            return Ok(());
        }
        self.work_units = 0;
        self.update_time();
        let exhausted =
            self.current_sc.is_active() && !self.sc_sufficient(self.current_sc, self.consumed);
        if self.machine.interrupt_pending() || exhausted {
            Err(Fail::Preempted)
        } else {
            Ok(())
        }
    }
}
