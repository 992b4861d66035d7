//! System calls, exceptions and interrupts: what the processor's edge hands over, one method each.

use crate::cap::{Cap, Frame};
use crate::context::entry;
use crate::kernel::{ASID_POOLS, Action, Done, Fail, Kernel, Message};
use crate::machine::{Machine, Next};
use crate::mem::{Page, Ref};
use crate::object::endpoint::Send;
use crate::object::tcb::{State, slots};
use crate::object::{Reply, SchedContext, Tcb};
use crate::slot::Slot;
use sel4_abi::message::MessageInfo;
use sel4_abi::{LookupFailure, MSG_REGISTERS, Rights, fault, syscall};
use words::x86::vector;

/// CPU vector of the kernel's timer.
pub const TIMER_VECTOR: u8 = 157;
/// CPU vector of user interrupt vector 0.
pub const USER_VECTOR_BASE: u8 = 0x30;

/// Whether any thread may stop the machine.
const HALTS: bool = cfg!(any(feature = "halt", test));

/// How a system call treats a failing capability address and a full queue.
#[derive(Clone, Copy)]
struct SendMode {
    is_call: bool,
    blocking: bool,
    may_donate: bool,
    /// First phase of a combined call: objects that only answer calls are refused.
    first_phase: bool,
}

impl<M: Machine> Kernel<M> {
    /// A SYSCALL of the current thread.
    pub fn handle_syscall(&mut self, number: i64) {
        let debug = cfg!(feature = "debug")
            && (syscall::DEBUG_NAME_THREAD..=syscall::DEBUG_PUT_CHAR).contains(&number);
        if debug && (HALTS || number != syscall::DEBUG_HALT) {
            self.debug_syscall(number);
            return;
        }
        self.update_time();
        if !self.check_budget_restart() {
            return;
        }
        let current = self.current;
        let context = &current.context;
        let (rdi, r12, r13) = (context.rdi.get(), context.r12.get(), context.r13.get());
        const SEND: SendMode = SendMode {
            is_call: false,
            blocking: true,
            may_donate: false,
            first_phase: false,
        };
        const FIRST: SendMode = SendMode {
            is_call: false,
            blocking: false,
            may_donate: true,
            first_phase: true,
        };
        match number {
            syscall::CALL => self.invoke(
                rdi,
                SendMode {
                    is_call: true,
                    may_donate: true,
                    ..SEND
                },
            ),
            syscall::SEND => self.invoke(rdi, SEND),
            syscall::NB_SEND => self.invoke(
                rdi,
                SendMode {
                    blocking: false,
                    ..SEND
                },
            ),
            syscall::RECV => self.receive(true, true),
            syscall::NB_RECV => self.receive(false, true),
            syscall::WAIT => self.receive(true, false),
            syscall::NB_WAIT => self.receive(false, false),
            syscall::REPLY_RECV => {
                self.invoke(r12, FIRST);
                self.second_phase(current, true);
            }
            syscall::NB_SEND_RECV => {
                self.invoke(r13, FIRST);
                self.second_phase(current, true);
            }
            syscall::NB_SEND_WAIT => {
                self.invoke(r12, FIRST);
                self.second_phase(current, false);
            }
            syscall::YIELD => self.yield_budget(),
            syscall::SET_TLS_BASE => {
                self.release_bases();
                current
                    .context
                    .fs_base
                    .set(if words::Gva::new(rdi).is_canonical() {
                        rdi
                    } else {
                        0
                    })
            }
            _ => self.unknown_syscall(number as u64),
        }
    }

    /// The receive phase of a combined call, unless the send phase was preempted: then the whole call is done again.
    fn second_phase(&mut self, caller: Ref<Tcb>, with_reply: bool) {
        if caller.state.get() == State::Running {
            self.receive(true, with_reply);
        }
    }

    /// `int n` with a vector that is nobody's: an unknown system call, as seL4 numbers it. A device that sends such a vector
    /// by message interrupts nobody; without its end the timer, of a lower vector, would not come any more.
    pub fn handle_unknown_vector(&mut self, vector: u8) {
        if self.machine.in_service(vector) {
            self.handle_interrupt(vector);
            return;
        }
        self.update_time();
        if !self.check_budget_restart() {
            return;
        }
        let current = self.current;
        let number = u64::from(vector) << 24 | current.context.rax.get() & 0xff_ffff;
        current
            .context
            .rip
            .set(current.context.rip.get().wrapping_sub(2));
        self.unknown_syscall(number);
    }

    #[inline(never)]
    fn unknown_syscall(&mut self, number: u64) {
        let words = [number];
        if self.fast_fault(fault::UNKNOWN_SYSCALL, &words).is_none() {
            self.fault(self.current, fault::UNKNOWN_SYSCALL, &words);
        }
    }

    fn debug_syscall(&mut self, number: i64) {
        let rdi = self.current.context.rdi.get();
        match number {
            syscall::DEBUG_PUT_CHAR => self.machine.put_char(rdi as u8),
            syscall::DEBUG_CAP_IDENTIFY => {
                let kind = self
                    .lookup_thread_slot(self.current, rdi)
                    .map_or(0, |slot| slot.cap().identify());
                self.current.context.rdi.set(kind);
            }
            syscall::DEBUG_NAME_THREAD => self.debug_name_thread(rdi),
            syscall::DEBUG_HALT => {
                // A thread may have left a line unfinished.
                self.debug_print(format_args!("\nhalted by a thread\n"));
                self.machine.halt()
            }
            syscall::DEBUG_DUMP_SCHEDULER | syscall::DEBUG_SNAPSHOT => {
                let (priority, tcb) = (self.current.priority.get(), self.current.bits());
                self.debug_print(format_args!(
                    "current thread {tcb:#x}, priority {priority}\n"
                ));
            }
            _ => {}
        }
    }

    fn debug_name_thread(&mut self, address: u64) {
        let Ok(slot) = self.lookup_thread_slot(self.current, address) else {
            return;
        };
        let Cap::Tcb { object } = slot.cap() else {
            return;
        };
        let Some(buffer) = self.ipc_buffer(self.current, false) else {
            return;
        };
        let mut name = [0; 32];
        for (n, byte) in name.iter_mut().enumerate().take(31) {
            *byte = (buffer.msg[n / 8].get() >> (8 * (n % 8))) as u8;
            if *byte == 0 {
                break;
            }
        }
        object.name.set(name);
    }

    /// An exception of the current thread in user mode.
    pub fn handle_exception(&mut self, number: u8, code: u64, cr2: u64) {
        if number == vector::NM && self.fpu_first_use() {
            return;
        }
        self.update_time();
        if !self.check_budget_restart() {
            return;
        }
        let current = self.current;
        if number == vector::PF {
            let words = Self::page_fault_words(current, code, cr2);
            self.fault(current, fault::VM_FAULT, &words);
        } else {
            self.fault(current, fault::USER_EXCEPTION, &[u64::from(number), code]);
        }
    }

    #[inline(always)]
    pub(crate) fn page_fault_words(tcb: Ref<Tcb>, code: u64, cr2: u64) -> [u64; 4] {
        [tcb.context.rip.get(), cr2, code >> 4 & 1, code]
    }

    /// A hardware interrupt, from user mode, from idle, or out of a guest.
    pub fn handle_interrupt(&mut self, cpu_vector: u8) {
        self.update_time();
        self.check_budget();
        match cpu_vector {
            TIMER_VECTOR => {
                self.machine.end_of_interrupt();
                // The timer fires once: whatever it was for, the next deadline must be set again.
                self.reprogram = true;
            }
            USER_VECTOR_BASE..TIMER_VECTOR => self.user_interrupt(cpu_vector - USER_VECTOR_BASE),
            255 => {} // spurious: no end of interrupt
            _ => self.machine.end_of_interrupt(),
        }
    }

    /// Decides what runs now; loads its address space and thread registers.
    #[inline(always)]
    pub fn decide(&mut self) -> Next {
        if self.goes_on() {
            return Self::user(self.current);
        }
        self.decide_anew()
    }

    #[inline(never)]
    fn decide_anew(&mut self) -> Next {
        let mut others_failed = false;
        loop {
            self.schedule();
            let current = self.current;
            // One that could not run may be followed by many: an interrupt does not wait for all of them.
            if current == self.idle || others_failed && self.machine.interrupt_pending() {
                return Next::Idle;
            }
            if current.state.get() == State::Restart {
                current.context.rip.set(current.restart_ip());
                current.context.entered_by.set(entry::FULL);
                self.set_state(current, State::Running);
            }
            if let Some(sc) = current.yield_to.get() {
                self.complete_yield(sc);
            }
            if let Some(vcpu) = current.vcpu.get() {
                if let Some(next) = self.vcpu_prepare(vcpu) {
                    return next;
                }
            } else if let Some(root) = self.thread_space(current) {
                return self.load_thread(current, root, self.current_sc);
            } else {
                // An address space that is gone: nothing can be executed.
                let ip = current.context.rip.get();
                self.fault(current, fault::VM_FAULT, &[ip, ip, 1, 0x14]);
            }
            others_failed = true;
        }
    }

    /// Receive phase: rdi names the endpoint or notification, r12 the reply object.
    fn receive(&mut self, blocking: bool, with_reply: bool) {
        let current = self.current;
        let address = current.context.rdi.get();
        let missing = LookupFailure::MissingCapability { bits_left: 0 };
        let slot = match self.lookup_thread_slot(current, address) {
            Ok(slot) => slot,
            Err(failure) => return self.cap_fault(current, address, true, failure),
        };
        match slot.cap() {
            Cap::Endpoint { object, rights, .. } if rights.has(Rights::READ) => {
                let reply = match self.reply_object(with_reply) {
                    Ok(reply) => reply,
                    Err(failure) => {
                        return self.cap_fault(current, current.context.r12.get(), true, failure);
                    }
                };
                self.receive_ipc(current, object, rights, blocking, reply);
            }
            Cap::Notification { object, rights, .. }
                if rights.has(Rights::READ)
                    && object.tcb.get().is_none_or(|tcb| tcb == current) =>
            {
                self.receive_signal(current, object, blocking);
            }
            _ => self.cap_fault(current, address, true, missing),
        }
    }

    fn reply_object(&self, with_reply: bool) -> Result<Option<Ref<Reply>>, LookupFailure> {
        if !with_reply {
            return Ok(None);
        }
        let slot = self.lookup_thread_slot(self.current, self.current.context.r12.get())?;
        match slot.cap() {
            Cap::Reply { object, .. } => Ok(Some(object)),
            _ => Err(LookupFailure::MissingCapability { bits_left: 0 }),
        }
    }

    /// Send phase: invokes the capability at `address` with the current thread's message.
    fn invoke(&mut self, address: u64, mode: SendMode) {
        let current = self.current;
        let slot = match self.lookup_thread_slot(current, address) {
            Ok(slot) => slot,
            Err(failure) => {
                if mode.blocking {
                    self.cap_fault(current, address, false, failure);
                }
                return;
            }
        };
        let info = MessageInfo::from_word(current.context.rsi.get());
        let cap = slot.cap();
        let extras = match self.extra_caps(current, info) {
            Ok(extras) => extras,
            Err((address, failure)) => {
                if mode.blocking {
                    self.cap_fault(current, address, false, failure);
                }
                return;
            }
        };
        let outcome = match cap {
            Cap::Endpoint {
                object,
                badge,
                rights,
            } if rights.has(Rights::WRITE) => {
                let SendMode {
                    is_call,
                    blocking,
                    may_donate,
                    ..
                } = mode;
                self.send_ipc(
                    current,
                    object,
                    Send {
                        blocking,
                        is_call,
                        badge,
                        rights,
                        may_donate,
                    },
                );
                return;
            }
            Cap::Notification {
                object,
                badge,
                rights,
            } if rights.has(Rights::WRITE) => {
                self.signal(object, badge);
                Ok(Done::Empty)
            }
            Cap::Reply { object, grant } => {
                self.reply_transfer(current, object, grant);
                Ok(Done::Empty)
            }
            cap => {
                let message = self.message_of(current, info, extras, mode.is_call);
                self.invoke_object(cap, slot, &message, mode.first_phase)
            }
        };
        self.finish(current, outcome, mode.is_call);
    }

    #[inline(always)]
    fn message_of(
        &self,
        caller: Ref<Tcb>,
        info: MessageInfo,
        extras: [Option<Ref<Slot>>; 3],
        is_call: bool,
    ) -> Message {
        // Nobody asks for a buffer whose words would not be read.
        let buffer = if info.length() > MSG_REGISTERS {
            self.ipc_buffer(caller, false)
        } else {
            None
        };
        let length = if buffer.is_none() {
            info.length().min(MSG_REGISTERS)
        } else {
            info.length()
        };
        Message {
            label: info.label(),
            length,
            registers: [0, 1, 2, 3].map(|n| caller.mr(n)),
            buffer,
            extras,
            is_call,
        }
    }

    /// A call of a frame capability, which is `slot`'s: what [`handle_syscall`](Self::handle_syscall) does for it, and what
    /// runs next.
    #[inline(never)]
    pub(crate) fn call_frame(&mut self, slot: Ref<Slot>, frame: Frame) -> Next {
        self.update_time();
        if self.check_budget_restart() {
            let current = self.current;
            let info = MessageInfo::from_word(current.context.rsi.get());
            match self.extra_caps(current, info) {
                Ok(extras) => {
                    let message = self.message_of(current, info, extras, true);
                    let outcome = self.invoke_known_frame(frame, slot, &message);
                    self.finish(current, outcome, true);
                }
                Err((address, failure)) => self.cap_fault(current, address, false, failure),
            }
        }
        self.decide()
    }

    #[inline(always)]
    fn finish(&mut self, caller: Ref<Tcb>, outcome: Result<Done, Fail>, is_call: bool) {
        // A thread that stopped itself does its call again when it is resumed: its registers stay as they are.
        let is_call = is_call && caller.state.get() == State::Running;
        match outcome {
            Ok(done) if is_call => self.answer(caller, done),
            Ok(_) => {}
            Err(Fail::Preempted) => {
                // The call is done again once the interrupt was taken.
                if caller.is_runnable() {
                    self.set_state(caller, State::Restart);
                }
                if self.is_schedulable(caller) {
                    self.check_budget();
                }
            }
            Err(Fail::Error {
                error,
                words,
                length,
            }) => {
                if is_call {
                    self.answer_error(caller, error, &words[..length]);
                }
            }
        }
    }

    fn invoke_object(
        &mut self,
        cap: Cap,
        slot: Ref<Slot>,
        msg: &Message,
        first_phase: bool,
    ) -> crate::kernel::Outcome {
        let refused = matches!(
            cap,
            Cap::Tcb { .. }
                | Cap::CNode { .. }
                | Cap::DomainSet
                | Cap::SchedControl
                | Cap::SchedContext { .. }
        );
        if first_phase && refused {
            return Err(Fail::capability(0));
        }
        match cap {
            Cap::Untyped { .. } => self.invoke_untyped(slot, msg),
            Cap::CNode { .. } => self.invoke_cnode(slot.words(), msg),
            Cap::Tcb { object } => self.invoke_tcb(object, msg),
            Cap::SchedControl => self.invoke_sched_control(msg),
            Cap::SchedContext { object, .. } => self.invoke_sched_context(object, msg),
            Cap::IrqControl => self.invoke_irq_control(slot, msg),
            Cap::IrqHandler { irq } => self.invoke_irq_handler(irq, msg),
            Cap::IoPortControl => self.invoke_io_port_control(slot, msg),
            Cap::IoPort { first, last } => self.invoke_io_port(first, last, msg),
            Cap::AsidControl => self.invoke_asid_control(msg),
            Cap::AsidPool { object, base } => self.invoke_asid_pool(object, base, msg),
            Cap::Frame { .. } => self.invoke_frame(slot, msg),
            Cap::Table { .. } => self.invoke_table(slot, msg),
            Cap::Vcpu { object, rights } => self.invoke_vcpu(object, rights, msg),
            Cap::ShadowPool { object, .. } => self.invoke_pool(object, msg),
            Cap::DomainSet => self.invoke_domain_set(msg),
            Cap::Null
            | Cap::Zombie { .. }
            | Cap::Endpoint { .. }
            | Cap::Notification { .. }
            | Cap::Reply { .. } => Err(Fail::capability(0)),
        }
    }

    /// Stops the thread: out of every queue, keeping its scheduling context.
    pub(crate) fn suspend(&mut self, tcb: Ref<Tcb>) {
        self.abandon_cancelling(tcb);
        self.cancel_ipc(tcb);
        if tcb.is_runnable() {
            // A thread stopped inside a system call does it again when it is resumed, also the call by which it stopped
            // itself; one that has finished its call does not.
            if tcb.state.get() == State::Restart || tcb == self.current {
                tcb.context.rip.set(tcb.restart_ip());
            }
            tcb.context.entered_by.set(entry::FULL);
            self.set_state(tcb, State::Inactive);
        }
        tcb.fault.set(Default::default());
        self.ready_remove(tcb);
        self.release_remove(tcb);
        self.cancel_yield(tcb);
    }

    /// Starts a stopped thread, ending whatever it waited for.
    pub(crate) fn restart(&mut self, tcb: Ref<Tcb>) {
        if !tcb.is_stopped() {
            return;
        }
        self.cancel_ipc(tcb);
        tcb.fault.set(Default::default());
        self.set_state(tcb, State::Restart);
        self.wake_sporadic(tcb);
        if let Some(sc) = tcb.sc.get() {
            self.sc_resume(sc);
        }
        self.possible_switch(tcb);
    }

    /// The root of a thread's address space, if it has one that is alive.
    #[inline(always)]
    pub(crate) fn thread_space(&self, tcb: Ref<Tcb>) -> Option<Ref<Page>> {
        self.live_space(&tcb.slots[slots::VSPACE])
            .map(|(root, _)| root)
    }

    /// The user address space that a slot's capability names, if it lives: its root and number.
    #[inline(always)]
    pub(crate) fn live_space(&self, slot: &Slot) -> Option<(Ref<Page>, u16)> {
        let (root, asid) = slot.words().space()?;
        let pool = self.asid_pools[usize::from(asid >> 9) % ASID_POOLS].get()?;
        // Nobody has number 0, and bit 0, which marks a guest-physical space, is clear in a table's address.
        (pool.0[usize::from(asid & 511)].get() == root.bits()).then_some((root, asid))
    }

    /// Loads what belongs to the thread that is about to run in user mode, on the context `sc`.
    #[inline(always)]
    pub(crate) fn load_thread(
        &mut self,
        tcb: Ref<Tcb>,
        root: Ref<Page>,
        sc: Ref<SchedContext>,
    ) -> Next {
        if self.loaded_space != root.bits() {
            self.loaded_space = root.bits();
            self.machine.switch_vspace(root.hpa());
            sc.switches.set(sc.switches.get() + 1);
        }
        if self.machine.threads_set_bases() {
            self.keep_bases();
            self.bases_of = tcb;
        }
        self.machine
            .load_tls(tcb.context.fs_base.get(), tcb.context.gs_base.get());
        self.fpu_prepare(tcb);
        self.loaded_thread = tcb.bits();
        Self::user(tcb)
    }

    /// The bases that the thread which ran last has set come into its context.
    #[inline(always)]
    fn keep_bases(&self) {
        let (fs_base, gs_base) = self.machine.bases();
        self.bases_of.context.fs_base.set(fs_base);
        self.bases_of.context.gs_base.set(gs_base);
    }

    /// From here on a context has its thread's bases, whoever's the processor has: they may be read and written, and the
    /// processor may lose them. Whoever goes on has them loaded again.
    pub(crate) fn release_bases(&mut self) {
        if self.machine.threads_set_bases() {
            self.keep_bases();
            self.forget_bases();
        }
        self.loaded_thread = 0;
    }

    /// Nobody's bases are worth keeping.
    pub(crate) fn forget_bases(&mut self) {
        self.bases_of = self.idle;
    }

    #[inline(always)]
    fn user(tcb: Ref<Tcb>) -> Next {
        let context = tcb.bits() + core::mem::offset_of!(Tcb, context) as u64;
        Next::User {
            context: words::Hpa::new(context),
        }
    }

    /// Whether the current thread simply goes on after its system call: nothing was decided, nobody's time has come, and all
    /// that belongs to it is loaded.
    #[inline(always)]
    fn goes_on(&self) -> bool {
        let current = self.current;
        self.loaded_thread == current.bits()
            && self.action == Action::Keep
            && !self.reprogram
            && current.state.get() == State::Running
            && current.context.entered_by.get() == entry::SYSCALL
            && self.queues.release.get().is_none()
            && current.slots[slots::VSPACE]
                .words()
                .space()
                .is_some_and(|(root, _)| root.bits() == self.loaded_space)
    }
}
