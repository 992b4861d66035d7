//! Thread control block: registers, capability slots, scheduling and IPC state.

use crate::cap::{Cap, frame_bits};
use crate::context::{UserContext, entry};
use crate::fpu::FpuUse;
use crate::kernel::{Done, Fail, Kernel, Message, Outcome};
use crate::machine::Machine;
use crate::mem::{FpuArea, Link, Ref};
use crate::object::{Notification, Reply, SchedContext, Vcpu};
use crate::slot::{self, Slot};
use core::cell::Cell;
use sel4_abi::{Error, IPC_BUFFER_SIZE, Rights, USER_CONTEXT_WORDS, USER_TOP, label};
use words::x86::rflags;

/// Indices of a TCB's capability slots.
pub mod slots {
    /// CSpace root.
    pub const CSPACE: usize = 0;
    /// Address space.
    pub const VSPACE: usize = 1;
    /// IPC-buffer frame.
    pub const BUFFER: usize = 2;
    /// Fault endpoint.
    pub const FAULT: usize = 3;
    /// Timeout endpoint.
    pub const TIMEOUT: usize = 4;
    /// Number of them.
    pub const COUNT: usize = 5;
}

/// What a thread is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u64)]
pub enum State {
    /// Not started, or stopped by a fault nobody took.
    #[default]
    Inactive = 0,
    /// Running or ready.
    Running,
    /// Ready, and its last system call is to be done again.
    Restart,
    /// In an endpoint's queue, receiving.
    BlockedOnReceive,
    /// In an endpoint's queue, sending.
    BlockedOnSend,
    /// Called, awaits the reply.
    BlockedOnReply,
    /// In a notification's queue.
    BlockedOnNotification,
    /// The idle thread.
    Idle,
}

/// A thread's pending fault: message label and words (the register dump of an unknown system call or exception is taken
/// from the context when the message is delivered).
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Message label, 0 for none.
    pub label: u64,
    /// Words as far as they are not in the context.
    pub words: [u64; 7],
    /// How many of them.
    pub length: usize,
}

/// A thread.
#[repr(C)]
pub struct Tcb {
    /// Capability slots, first so that a zombie's slot array is the object itself.
    pub slots: [Slot; slots::COUNT],
    /// User registers.
    pub context: UserContext,
    pub(crate) state: Cell<State>,
    /// Endpoint or notification waited for.
    pub(crate) blocked_on: Cell<u64>,
    pub(crate) sender_badge: Cell<u64>,
    pub(crate) sender_can_grant: Cell<bool>,
    pub(crate) sender_can_grant_reply: Cell<bool>,
    pub(crate) sender_is_call: Cell<bool>,
    pub(crate) receiver_can_grant: Cell<bool>,
    /// Reply object this thread waits with (receiver) or on (caller).
    pub(crate) reply: Link<Reply>,
    pub(crate) queue_next: Link<Tcb>,
    pub(crate) queue_prev: Link<Tcb>,
    pub(crate) sched_next: Link<Tcb>,
    pub(crate) sched_prev: Link<Tcb>,
    pub(crate) in_ready_queue: Cell<bool>,
    pub(crate) in_release_queue: Cell<bool>,
    pub(crate) sc: Link<SchedContext>,
    pub(crate) yield_to: Link<SchedContext>,
    pub(crate) notification: Link<Notification>,
    pub(crate) vcpu: Link<Vcpu>,
    pub(crate) priority: Cell<u8>,
    pub(crate) mcp: Cell<u8>,
    pub(crate) fpu_use: Cell<FpuUse>,
    /// First byte and end of what its interrupted retype has zeroed.
    pub(crate) cleaned: Cell<(u64, u64)>,
    pub(crate) fault: Cell<Fault>,
    pub(crate) buffer: Cell<u64>,
    pub(crate) name: Cell<[u8; 32]>,
    pub(crate) fpu: FpuArea,
}

const _: () = assert!(size_of::<Tcb>() <= 1 << sel4_abi::object::TCB_BITS);

impl Tcb {
    /// Somebody is told when its budget ends.
    pub(crate) fn has_timeout_handler(&self) -> bool {
        let cap = self.slots[slots::TIMEOUT].cap();
        !cap.is_null() && valid_fault_handler(cap)
    }
    /// Ready, as far as its state goes.
    #[must_use]
    pub fn is_runnable(&self) -> bool {
        matches!(self.state.get(), State::Running | State::Restart)
    }
    /// Waiting in some queue or for a reply.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        matches!(
            self.state.get(),
            State::BlockedOnReceive
                | State::BlockedOnSend
                | State::BlockedOnReply
                | State::BlockedOnNotification
        )
    }
    /// Not runnable, not idle.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.is_blocked() || self.state.get() == State::Inactive
    }
    /// Message register `n` of 0..=3.
    #[inline(always)]
    #[must_use]
    pub fn mr(&self, n: usize) -> u64 {
        let c = &self.context;
        match n {
            0 => c.r10.get(),
            1 => c.r8.get(),
            2 => c.r9.get(),
            _ => c.r15.get(),
        }
    }
    /// Writes message register `n` of 0..=3.
    #[inline(always)]
    pub fn set_mr(&self, n: usize, value: u64) {
        let c = &self.context;
        match n {
            0 => c.r10.set(value),
            1 => c.r8.set(value),
            2 => c.r9.set(value),
            _ => c.r15.set(value),
        }
    }
    /// A fresh thread's registers: interrupts on.
    pub fn init(&self) {
        self.context.rflags.set(rflags::IF | rflags::ONE);
        self.fpu.init();
    }
    /// Writes register `n`, made harmless: non-canonical addresses become 0, flags keep IF. The segment bases are not
    /// part of how the thread entered the kernel, so a call that is to be done again still is.
    #[inline(always)]
    pub fn write_register(&self, n: usize, value: u64) {
        let value = match n {
            0 | FIRST_BASE.. if !words::Gva::new(value).is_canonical() => 0,
            2 => sanitise_flags(value),
            _ => value,
        };
        self.context.registers()[n].set(value);
        if n < FIRST_BASE {
            self.context.entered_by.set(entry::FULL);
        }
    }
    /// The address of the instruction a restart goes to, which is also what others see: SYSCALL is two bytes.
    #[must_use]
    pub fn restart_ip(&self) -> u64 {
        let rip = self.context.rip.get();
        if self.context.entered_by.get() == entry::SYSCALL {
            rip.wrapping_sub(2)
        } else {
            rip
        }
    }
    pub(crate) fn slot(&self, n: usize) -> Ref<Slot> {
        // The slots are the object's first bytes.
        let this = core::ptr::from_ref(&self.slots[n]);
        crate::mem::inside(this)
    }
}

/// Registers from this one on, of the order above, are bases of segments.
const FIRST_BASE: usize = 18;

/// User flags: IF and the always-one bit on, trap and everything above bit 11 off.
#[must_use]
pub fn sanitise_flags(value: u64) -> u64 {
    const USER: u64 = 0xcd5; // CF PF AF ZF SF DF OF
    value & USER | rflags::IF | rflags::ONE
}

/// A fault handler capability: null, or an endpoint one may send to and be answered through.
pub(crate) fn valid_fault_handler(cap: Cap) -> bool {
    match cap {
        Cap::Null => true,
        Cap::Endpoint { rights, .. } => {
            rights.has(Rights::WRITE)
                && (rights.has(Rights::GRANT) || rights.has(Rights::GRANT_REPLY))
        }
        _ => false,
    }
}

/// A capability checked for one of a TCB's slots, with the slot it is derived from.
#[derive(Clone, Copy)]
struct SlotUpdate {
    cap: Cap,
    source: Ref<Slot>,
}

impl<M: Machine> Kernel<M> {
    pub(crate) fn invoke_tcb(&mut self, tcb: Ref<Tcb>, msg: &Message) -> Outcome {
        match msg.label {
            label::TCB_READ_REGISTERS => self.tcb_read_registers(tcb, msg),
            label::TCB_WRITE_REGISTERS => self.tcb_write_registers(tcb, msg),
            label::TCB_COPY_REGISTERS => self.tcb_copy_registers(tcb, msg),
            label::TCB_CONFIGURE => self.tcb_configure(tcb, msg),
            label::TCB_SET_PRIORITY => self.tcb_set_priority(tcb, msg, false),
            label::TCB_SET_MC_PRIORITY => self.tcb_set_priority(tcb, msg, true),
            label::TCB_SET_SCHED_PARAMS => self.tcb_set_sched_params(tcb, msg),
            label::TCB_SET_TIMEOUT_ENDPOINT => self.tcb_set_timeout_endpoint(tcb, msg),
            label::TCB_SET_IPC_BUFFER => self.tcb_set_ipc_buffer(tcb, msg),
            label::TCB_SET_SPACE => self.tcb_set_space(tcb, msg),
            label::TCB_SUSPEND => {
                self.suspend(tcb);
                Ok(Done::Empty)
            }
            label::TCB_RESUME => {
                self.restart(tcb);
                Ok(Done::Empty)
            }
            label::TCB_BIND_NOTIFICATION => self.tcb_bind_notification(tcb, msg),
            label::TCB_UNBIND_NOTIFICATION => match tcb.notification.get() {
                None => Err(Fail::error(Error::IllegalOperation)),
                Some(notification) => {
                    self.unbind_notification(notification);
                    Ok(Done::Empty)
                }
            },
            label::TCB_SET_TLS_BASE => {
                msg.need(1, 0)?;
                if tcb == self.current {
                    // It has the old one loaded, and may not simply go on with it.
                    self.release_bases();
                }
                tcb.write_register(FIRST_BASE, msg.word(0));
                Ok(Done::Empty)
            }
            label::TCB_SET_FLAGS => {
                msg.need(2, 0)?;
                let denied = tcb.fpu_use.get() == FpuUse::Denied;
                let flags = (u64::from(denied) & !msg.word(0)) | msg.word(1);
                self.fpu_deny(tcb, flags & 1 != 0);
                Ok(Done::words(&[flags & 1]))
            }
            _ => Err(Fail::error(Error::IllegalOperation)),
        }
    }

    fn tcb_read_registers(&mut self, tcb: Ref<Tcb>, msg: &Message) -> Outcome {
        msg.need(2, 0)?;
        let count = msg.word(1);
        if !(1..=USER_CONTEXT_WORDS as u64).contains(&count) {
            return Err(Fail::range(1, USER_CONTEXT_WORDS as u64));
        }
        if tcb == self.current {
            return Err(Fail::error(Error::IllegalOperation));
        }
        if msg.word(0) & 1 != 0 {
            self.suspend(tcb);
        }
        let mut values = [0; USER_CONTEXT_WORDS];
        for (value, register) in values.iter_mut().zip(tcb.context.registers().iter()) {
            *value = register.get();
        }
        values[0] = tcb.restart_ip();
        Ok(self.answer_long(msg, &values[..count as usize]))
    }

    fn tcb_write_registers(&mut self, tcb: Ref<Tcb>, msg: &Message) -> Outcome {
        msg.need(2, 0)?;
        let count = msg.word(1);
        if (msg.length as u64 - 2) < count {
            return Err(Fail::error(Error::TruncatedMessage));
        }
        if tcb == self.current {
            return Err(Fail::error(Error::IllegalOperation));
        }
        self.abandon_cancelling(tcb);
        // A system call that is not overwritten is done again.
        tcb.context.rip.set(tcb.restart_ip());
        tcb.context.entered_by.set(entry::FULL);
        for n in 0..(count as usize).min(USER_CONTEXT_WORDS) {
            tcb.write_register(n, msg.word(2 + n));
        }
        if msg.word(0) & 1 != 0 {
            self.restart(tcb);
        }
        Ok(Done::Empty)
    }

    fn tcb_copy_registers(&mut self, tcb: Ref<Tcb>, msg: &Message) -> Outcome {
        msg.need(1, 1)?;
        let Cap::Tcb { object: source } = msg.extra(0).cap() else {
            return Err(Fail::capability(1));
        };
        let flags = msg.word(0);
        self.abandon_cancelling(tcb);
        if flags & 1 != 0 {
            self.suspend(source);
        }
        if flags & 2 != 0 {
            self.restart(tcb);
        }
        if flags & 4 != 0 {
            let registers = source.context.registers();
            for n in 0..FIRST_BASE {
                tcb.write_register(n, registers[n].get());
            }
            tcb.write_register(0, source.restart_ip());
        }
        if flags & 8 != 0 {
            self.release_bases();
            let registers = source.context.registers();
            for n in FIRST_BASE..USER_CONTEXT_WORDS {
                tcb.write_register(n, registers[n].get());
            }
        }
        if tcb == self.current {
            self.reschedule_required();
        }
        Ok(Done::Empty)
    }

    /// CSpace and VSpace roots: derived, guard data applied, kinds checked.
    fn check_space(
        &self,
        tcb: Ref<Tcb>,
        cspace: Ref<Slot>,
        cspace_data: u64,
        vspace: Ref<Slot>,
        vspace_data: u64,
    ) -> Result<(SlotUpdate, SlotUpdate), Fail> {
        for n in [slots::CSPACE, slots::VSPACE] {
            // Replacing the last capability of a container would empty it, which takes long and may take anything away,
            // this thread included.
            let container = matches!(
                tcb.slots[n].cap(),
                Cap::Zombie { .. } | Cap::CNode { .. } | Cap::Tcb { .. }
            );
            if container && slot::is_final(tcb.slot(n)) {
                return Err(Fail::error(Error::IllegalOperation));
            }
        }
        let mut croot = cspace.cap();
        if cspace_data != 0 {
            croot = croot.with_data(cspace_data, false);
        }
        let croot = self.derive(cspace, croot)?;
        if !matches!(croot, Cap::CNode { .. }) {
            return Err(Fail::error(Error::IllegalOperation));
        }
        let vroot = vspace.cap().with_data(vspace_data, false);
        let vroot = self.derive(vspace, vroot)?;
        if !matches!(
            vroot,
            Cap::Table {
                level: 4,
                kind: crate::cap::SpaceKind::Host,
                mapping: Some(_),
                ..
            }
        ) {
            return Err(Fail::error(Error::IllegalOperation));
        }
        Ok((
            SlotUpdate {
                cap: croot,
                source: cspace,
            },
            SlotUpdate {
                cap: vroot,
                source: vspace,
            },
        ))
    }

    /// The IPC buffer: an address and a frame, or neither.
    fn check_buffer(&self, address: u64, frame: Ref<Slot>) -> Result<Option<SlotUpdate>, Fail> {
        if address == 0 {
            return Ok(None);
        }
        let cap = self.derive(frame, frame.cap())?;
        match cap {
            Cap::Frame { device: false, .. } => {}
            _ => return Err(Fail::error(Error::IllegalOperation)),
        }
        if address & (IPC_BUFFER_SIZE - 1) != 0 {
            return Err(Fail::error(Error::AlignmentError));
        }
        Ok(Some(SlotUpdate { cap, source: frame }))
    }

    /// Replaces a TCB slot. A container in it may have to be emptied first, preemptibly; then the call is restarted.
    fn install(&mut self, tcb: Ref<Tcb>, index: usize, update: SlotUpdate) -> Result<(), Fail> {
        let to = tcb.slot(index);
        self.delete_slot(to)?;
        // The source may have been what the deletion took away.
        let same = self
            .derive(update.source, update.source.cap())
            .is_ok_and(|cap| cap.same_object(update.cap));
        if same {
            slot::insert(update.cap, update.source, to);
        }
        Ok(())
    }

    fn install_buffer(
        &mut self,
        tcb: Ref<Tcb>,
        address: u64,
        update: Option<SlotUpdate>,
    ) -> Result<(), Fail> {
        self.delete_slot(tcb.slot(slots::BUFFER))?;
        tcb.buffer.set(address);
        if let Some(update) = update {
            self.install(tcb, slots::BUFFER, update)?;
        }
        if tcb == self.current {
            self.reschedule_required();
        }
        Ok(())
    }

    fn install_space(
        &mut self,
        tcb: Ref<Tcb>,
        roots: (SlotUpdate, SlotUpdate),
    ) -> Result<(), Fail> {
        self.install(tcb, slots::CSPACE, roots.0)?;
        self.install(tcb, slots::VSPACE, roots.1)?;
        if tcb == self.current {
            self.reschedule_required();
        }
        Ok(())
    }

    fn install_handler(
        &mut self,
        tcb: Ref<Tcb>,
        index: usize,
        source: Ref<Slot>,
    ) -> Result<(), Fail> {
        self.delete_slot(tcb.slot(index))?;
        if !source.is_empty() {
            slot::insert(source.cap(), source, tcb.slot(index));
        }
        Ok(())
    }

    fn tcb_configure(&mut self, tcb: Ref<Tcb>, msg: &Message) -> Outcome {
        msg.need(3, 3)?;
        let buffer = self.check_buffer(msg.word(2), msg.extra(2))?;
        let roots = self.check_space(tcb, msg.extra(0), msg.word(0), msg.extra(1), msg.word(1))?;
        self.install_space(tcb, roots)?;
        self.install_buffer(tcb, msg.word(2), buffer)?;
        Ok(Done::Empty)
    }

    fn tcb_set_space(&mut self, tcb: Ref<Tcb>, msg: &Message) -> Outcome {
        msg.need(2, 3)?;
        let roots = self.check_space(tcb, msg.extra(1), msg.word(0), msg.extra(2), msg.word(1))?;
        if !valid_fault_handler(msg.extra(0).cap()) {
            return Err(Fail::capability(1));
        }
        self.install_handler(tcb, slots::FAULT, msg.extra(0))?;
        self.install_space(tcb, roots)?;
        Ok(Done::Empty)
    }

    fn tcb_set_ipc_buffer(&mut self, tcb: Ref<Tcb>, msg: &Message) -> Outcome {
        msg.need(1, 1)?;
        let buffer = self.check_buffer(msg.word(0), msg.extra(0))?;
        self.install_buffer(tcb, msg.word(0), buffer)?;
        Ok(Done::Empty)
    }

    fn tcb_set_timeout_endpoint(&mut self, tcb: Ref<Tcb>, msg: &Message) -> Outcome {
        msg.need(0, 1)?;
        if !valid_fault_handler(msg.extra(0).cap()) {
            return Err(Fail::capability(1));
        }
        self.install_handler(tcb, slots::TIMEOUT, msg.extra(0))?;
        Ok(Done::Empty)
    }

    /// The priority, checked against the authority's maximum.
    fn check_priority(value: u64, authority: Ref<Tcb>) -> Result<u8, Fail> {
        let limit = u64::from(authority.mcp.get());
        if value > limit {
            Err(Fail::range(0, limit))
        } else {
            Ok(value as u8)
        }
    }

    fn tcb_set_priority(&mut self, tcb: Ref<Tcb>, msg: &Message, mcp: bool) -> Outcome {
        msg.need(1, 1)?;
        let Cap::Tcb { object: authority } = msg.extra(0).cap() else {
            return Err(Fail::capability(1));
        };
        let value = Self::check_priority(msg.word(0), authority)?;
        if mcp {
            tcb.mcp.set(value)
        } else {
            self.set_priority(tcb, value)
        }
        Ok(Done::Empty)
    }

    fn tcb_set_sched_params(&mut self, tcb: Ref<Tcb>, msg: &Message) -> Outcome {
        msg.need(2, 3)?;
        let Cap::Tcb { object: authority } = msg.extra(0).cap() else {
            return Err(Fail::capability(1));
        };
        let mcp = Self::check_priority(msg.word(0), authority)?;
        let priority = Self::check_priority(msg.word(1), authority)?;
        let sc = match msg.extra(1).cap() {
            Cap::SchedContext { object: sc, .. } => {
                let other_sc = tcb.sc.get().is_some_and(|own| own != sc);
                let other_tcb = sc.tcb.get().is_some_and(|owner| owner != tcb);
                if other_sc || other_tcb || (tcb.is_blocked() && !self.sc_released(sc)) {
                    return Err(Fail::error(Error::IllegalOperation));
                }
                Some(sc)
            }
            Cap::Null if tcb == self.current => return Err(Fail::error(Error::IllegalOperation)),
            Cap::Null => None,
            _ => return Err(Fail::capability(2)),
        };
        if !valid_fault_handler(msg.extra(2).cap()) {
            return Err(Fail::capability(3));
        }
        self.install_handler(tcb, slots::FAULT, msg.extra(2))?;
        tcb.mcp.set(mcp);
        self.set_priority(tcb, priority);
        match sc {
            Some(sc) if tcb.sc.get() != Some(sc) => self.sc_bind_tcb(sc, tcb),
            None => {
                if let Some(sc) = tcb.sc.get() {
                    self.sc_unbind_tcb(sc);
                }
            }
            Some(_) => {}
        }
        Ok(Done::Empty)
    }

    fn tcb_bind_notification(&mut self, tcb: Ref<Tcb>, msg: &Message) -> Outcome {
        msg.need(0, 1)?;
        let illegal = Err(Fail::error(Error::IllegalOperation));
        if tcb.notification.get().is_some() {
            return illegal;
        }
        let Cap::Notification { object, rights, .. } = msg.extra(0).cap() else {
            return illegal;
        };
        if !rights.has(Rights::READ) || object.tcb.get().is_some() || object.has_waiters() {
            return illegal;
        }
        object.tcb.set(Some(tcb));
        tcb.notification.set(Some(object));
        Ok(Done::Empty)
    }

    /// The kernel's view of a thread's IPC buffer: `None` if there is none it may use for this direction.
    #[inline]
    pub(crate) fn ipc_buffer(
        &self,
        tcb: Ref<Tcb>,
        writable: bool,
    ) -> Option<Ref<crate::mem::Buffer>> {
        let address = tcb.buffer.get();
        if address == 0 {
            return None;
        }
        let (base, size, rights) = tcb.slots[slots::BUFFER].words().buffer()?;
        let allowed = if writable { rights == 3 } else { rights >= 2 };
        allowed.then(|| Ref::at(base + (address & ((1 << frame_bits(size)) - 1))))
    }

    /// Whether the address range `[address, address + bytes)` lies in user space.
    pub(crate) fn is_user_range(address: u64, bytes: u64) -> bool {
        address
            .checked_add(bytes)
            .is_some_and(|end| end <= USER_TOP)
    }
}
