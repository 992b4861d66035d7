//! A booted kernel in test memory, and the root task's hands: system calls as a program would make them.

use super::fake::FakeMachine;
use super::invariants::Checker;
use crate::cap::Cap;
use crate::context::entry;
use crate::kernel::Kernel;
use crate::machine::{BootParams, Next, Region};
use crate::mem::{self, Page, Ref};
use crate::object::tcb::State;
use crate::object::{Endpoint, Notification, Reply, SchedContext, ShadowPool, Tcb, Vcpu};
use crate::slot::Slot;
use core::cell::Cell;
use core::mem::offset_of;
use sel4_abi::boot_info::{BootInfo, slot as fixed};
use sel4_abi::message::MessageInfo;
use sel4_abi::{Error, label, object, syscall};
use std::sync::Mutex;
use words::Hpa;

/// Bytes of test memory.
pub const MEMORY: u64 = 32 << 20;
/// Where every thread's SYSCALL instruction stands.
pub const SYSCALL_AT: u64 = 0x40_0000;
const MODULE: u64 = 0x8000;
const KERNEL_PML4: u64 = 0x1000;

/// Windows that no test uses at present.
static FREE: Mutex<Vec<u64>> = Mutex::new(Vec::new());

fn take_memory() -> u64 {
    let free = FREE.lock().map_or(None, |mut free| free.pop());
    match free {
        Some(base) => {
            mem::set_test_window(base);
            mem::zero(0, MEMORY);
        }
        None => mem::install_test_memory(MEMORY as usize),
    }
    mem::test_window()
}

/// A booted system.
pub struct World {
    /// The kernel.
    pub kernel: Kernel<FakeMachine>,
    /// First slot of the root CNode nothing was put into.
    pub next_slot: u64,
    /// The untyped that helpers allocate from.
    pub memory: u64,
    /// Another one, for tests of untyped memory.
    pub spare: u64,
    /// Slots of all untyped capabilities.
    pub untyped: core::ops::Range<u64>,
    root_cnode: u64,
    window: u64,
}

impl Drop for World {
    fn drop(&mut self) {
        if let Ok(mut free) = FREE.lock() {
            free.push(self.window);
        }
    }
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 0 or the error.
    pub label: u64,
    /// Message words.
    pub words: Vec<u64>,
}

impl Answer {
    /// An error with its words.
    pub fn error(error: Error, words: &[u64]) -> Self {
        Self {
            label: error as u64,
            words: words.to_vec(),
        }
    }
    /// Panics unless the call succeeded.
    #[track_caller]
    pub fn ok(self) -> Vec<u64> {
        assert_eq!(self.label, 0, "{self:?}");
        self.words
    }
}

/// A thread made by [`World::thread`]: its capabilities and object.
#[derive(Clone, Copy, Debug)]
pub struct Thread {
    /// TCB slot.
    pub cap: u64,
    /// The object.
    pub tcb: Ref<Tcb>,
    /// Scheduling context slot.
    pub sc: u64,
    /// Reply object slot.
    pub reply: u64,
}

fn elf() -> Vec<u8> {
    let mut bytes = vec![0; 64 + 56 + 8];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    bytes[16] = 2;
    bytes[18] = 62;
    bytes[24..32].copy_from_slice(&(SYSCALL_AT + 2).to_le_bytes());
    bytes[32] = 64;
    bytes[54] = 56;
    bytes[56] = 1;
    bytes[64] = 1;
    bytes[64 + 4] = 6;
    bytes[64 + 8] = 120;
    bytes[80..88].copy_from_slice(&SYSCALL_AT.to_le_bytes());
    bytes[64 + 32] = 8;
    bytes[64 + 40..64 + 48].copy_from_slice(&0x1800u64.to_le_bytes());
    bytes[120..128].copy_from_slice(b"\x0f\x05umbra!");
    bytes
}

/// A loader's memory map of so many entries: low and high RAM, then reserved ranges.
fn memory_map(entries: u64) -> Vec<u8> {
    let mut map = Vec::new();
    for n in 0..entries {
        let (base, length, kind) = match n {
            0 => (0u64, 0xa_0000u64, 1u32),
            1 => (0x10_0000, MEMORY - 0x10_0000, 1),
            _ => (0x1_0000_0000 + 0x1000 * n, 0x1000, 2),
        };
        map.extend(20u32.to_le_bytes());
        map.extend(base.to_le_bytes());
        map.extend(length.to_le_bytes());
        map.extend(kind.to_le_bytes());
    }
    map
}

impl World {
    /// Boots; the root task runs.
    pub fn new() -> Self {
        Self::with(FakeMachine::new())
    }

    /// Boots on this machine.
    pub fn with(machine: FakeMachine) -> Self {
        Self::booted(machine, Some(&[7; 36]), 2)
    }

    /// Boots on this machine, with this root pointer and so many entries in the memory map.
    pub fn booted(machine: FakeMachine, rsdp: Option<&[u8]>, entries: u64) -> Self {
        let window = take_memory();
        let elf = elf();
        mem::write_bytes(MODULE, &elf);
        let pml4: Ref<Page> = Ref::at(KERNEL_PML4);
        for n in 256..512 {
            pml4.0[n].set(0xdead_0000_0000_0000 + n as u64);
        }
        let map = memory_map(entries);
        let params = BootParams {
            memory: &[Region {
                start: 0x10_0000,
                end: MEMORY,
            }],
            module: Region {
                start: MODULE,
                end: MODULE + elf.len() as u64,
            },
            kernel_devices: &[Region {
                start: 0xfec0_0000,
                end: 0xfec0_1000,
            }],
            kernel_pml4: Hpa::new(KERNEL_PML4),
            rsdp,
            memory_map: &map,
            command_line: "kernel verbose",
        };
        let mut kernel = Kernel::boot(machine, &params).expect("the test system boots");
        assert!(matches!(kernel.decide(), Next::User { .. }));
        let Cap::CNode {
            object: root_cnode, ..
        } = kernel.current.slots[0].cap()
        else {
            panic!("no root CNode")
        };
        let mut world = Self {
            kernel,
            next_slot: 0,
            memory: 0,
            spare: 0,
            untyped: 0..0,
            root_cnode,
            window,
        };
        world.next_slot = world.boot_info(offset_of!(BootInfo, empty)) + 16;
        let region = offset_of!(BootInfo, untyped);
        world.untyped = world.boot_info(region)..world.boot_info(region + 8);
        let mut ram: Vec<(u8, u64)> = world
            .untyped
            .clone()
            .filter_map(|slot| match world.cap(slot) {
                Cap::Untyped {
                    bits,
                    device: false,
                    ..
                } => Some((bits, slot)),
                _ => None,
            })
            .collect();
        ram.sort_unstable();
        world.memory = ram.pop().expect("memory").1;
        world.spare = ram.pop().expect("more memory").1;
        world
    }

    /// A word of the boot information.
    pub fn boot_info(&self, offset: usize) -> u64 {
        let word: Ref<Cell<u64>> = Ref::at(self.frame(fixed::BOOT_INFO_FRAME) + offset as u64);
        word.get()
    }

    /// Slot `n` of the root CNode.
    pub fn slot(&self, n: u64) -> Ref<Slot> {
        crate::cspace::slot_at(self.root_cnode, n)
    }
    /// The capability there.
    pub fn cap(&self, n: u64) -> Cap {
        self.slot(n).cap()
    }
    /// A fresh empty slot.
    pub fn empty(&mut self) -> u64 {
        let slot = self.next_slot;
        self.next_slot += 1;
        assert!(self.slot(slot).is_empty());
        slot
    }
    /// The running thread.
    pub fn current(&self) -> Ref<Tcb> {
        self.kernel.current
    }
    /// The thread, by its name in the test, is the running one.
    #[track_caller]
    pub fn expect_running(&self, thread: Thread) {
        assert_eq!(self.current(), thread.tcb, "another thread runs");
    }

    /// Puts a message into the running thread's registers and buffer.
    pub fn message(&self, label: u64, words: &[u64], caps: &[u64]) {
        let tcb = self.current();
        let info = MessageInfo::new(label, 0, caps.len() as u64, words.len() as u64);
        tcb.context.rsi.set(info.word());
        for (n, &word) in words.iter().enumerate().take(4) {
            tcb.set_mr(n, word);
        }
        if let Some(buffer) = self.kernel.ipc_buffer(tcb, false) {
            for (n, &word) in words.iter().enumerate().skip(4) {
                buffer.msg[n].set(word);
            }
            for (n, &cap) in caps.iter().enumerate() {
                buffer.caps_or_badges[n].set(cap);
            }
        }
    }

    /// The message in a thread's registers and buffer.
    pub fn received(&self, tcb: Ref<Tcb>) -> Answer {
        let info = MessageInfo::from_word(tcb.context.rsi.get());
        let buffer = self.kernel.ipc_buffer(tcb, true);
        let word = |n: usize| {
            if n < 4 {
                tcb.mr(n)
            } else {
                buffer.map_or(0, |buffer| buffer.msg[n].get())
            }
        };
        Answer {
            label: info.label(),
            words: (0..info.length()).map(word).collect(),
        }
    }

    /// The running thread's registers as its SYSCALL leaves them.
    pub fn enter(&self, number: i64) {
        let context = &self.current().context;
        context.rip.set(SYSCALL_AT + 2);
        context.entered_by.set(entry::SYSCALL);
        context.rdx.set(number as u64);
    }

    /// SYSCALL by the running thread, then whatever the kernel runs next.
    pub fn syscall(&mut self, number: i64) -> Next {
        self.enter(number);
        super::fastpath::compare_syscall(&mut self.kernel, number);
        self.kernel.handle_syscall(number);
        self.settle()
    }

    /// Runs on until something other than a repeated SYSCALL is to be executed.
    pub fn settle(&mut self) -> Next {
        loop {
            if core::mem::take(&mut self.kernel.machine.pending) {
                self.kernel.handle_interrupt(crate::syscall::TIMER_VECTOR);
            }
            let next = self.kernel.decide();
            let context = &self.current().context;
            if !matches!(next, Next::User { .. }) || context.rip.get() != SYSCALL_AT {
                return next;
            }
            let number = context.rdx.get() as i64;
            self.enter(number);
            self.kernel.handle_syscall(number);
        }
    }

    /// Call by the running thread, which runs again afterwards.
    #[track_caller]
    pub fn call(&mut self, cap: u64, label: u64, words: &[u64], caps: &[u64]) -> Answer {
        let caller = self.current();
        self.start_call(cap, label, words, caps);
        assert_eq!(
            self.current(),
            caller,
            "the caller does not run after its call"
        );
        self.received(caller)
    }
    /// Call by the running thread, of which the kernel does what it does before it asks who runs.
    pub fn begin_call(&mut self, cap: u64, label: u64, words: &[u64], caps: &[u64]) {
        self.message(label, words, caps);
        self.current().context.rdi.set(cap);
        self.enter(syscall::CALL);
        self.kernel.handle_syscall(syscall::CALL);
    }
    /// Call by the running thread, whoever runs afterwards.
    pub fn start_call(&mut self, cap: u64, label: u64, words: &[u64], caps: &[u64]) -> Next {
        self.message(label, words, caps);
        self.current().context.rdi.set(cap);
        self.syscall(syscall::CALL)
    }
    /// Send by the running thread.
    pub fn send(&mut self, cap: u64, label: u64, words: &[u64]) -> Next {
        self.message(label, words, &[]);
        self.current().context.rdi.set(cap);
        self.syscall(syscall::SEND)
    }
    /// Signal, or a message without words.
    pub fn signal(&mut self, cap: u64) -> Next {
        self.send(cap, 0, &[])
    }
    /// Wait on a notification or endpoint without reply object.
    pub fn wait(&mut self, cap: u64) -> Next {
        self.current().context.rdi.set(cap);
        self.syscall(syscall::WAIT)
    }
    /// Recv with a reply object.
    pub fn recv(&mut self, cap: u64, reply: u64) -> Next {
        self.current().context.rdi.set(cap);
        self.current().context.r12.set(reply);
        self.syscall(syscall::RECV)
    }
    /// ReplyRecv.
    pub fn reply_recv(&mut self, cap: u64, reply: u64, label: u64, words: &[u64]) -> Next {
        self.message(label, words, &[]);
        self.current().context.rdi.set(cap);
        self.current().context.r12.set(reply);
        self.syscall(syscall::REPLY_RECV)
    }
    /// Invokes a reply object by Send.
    pub fn reply(&mut self, reply: u64, label: u64, words: &[u64]) -> Next {
        self.send(reply, label, words)
    }

    /// Retypes from `untyped` into a fresh slot.
    #[track_caller]
    pub fn retype(&mut self, untyped: u64, ty: u64, bits: u64) -> u64 {
        let slot = self.empty();
        self.call(
            untyped,
            label::UNTYPED_RETYPE,
            &[ty, bits, 0, 0, slot, 1],
            &[fixed::CNODE],
        )
        .ok();
        slot
    }
    /// A new object.
    #[track_caller]
    pub fn make(&mut self, ty: u64, bits: u64) -> u64 {
        self.retype(self.memory, ty, bits)
    }
    /// An operation on slot `slot` of the root CNode.
    pub fn cnode(&mut self, label: u64, slot: u64, words: &[u64], caps: &[u64]) -> Answer {
        let mut all = vec![slot, 64];
        all.extend(words);
        self.call(fixed::CNODE, label, &all, caps)
    }
    /// Deletes a capability.
    pub fn delete(&mut self, slot: u64) {
        self.cnode(label::CNODE_DELETE, slot, &[], &[]).ok();
    }
    /// Revokes a capability.
    pub fn revoke(&mut self, slot: u64) {
        self.cnode(label::CNODE_REVOKE, slot, &[], &[]).ok();
    }
    /// A copy with rights.
    pub fn copy(&mut self, source: u64, rights: u64) -> u64 {
        let slot = self.empty();
        self.cnode(
            label::CNODE_COPY,
            slot,
            &[source, 64, rights],
            &[fixed::CNODE],
        )
        .ok();
        slot
    }
    /// A badged copy.
    pub fn mint(&mut self, source: u64, rights: u64, badge: u64) -> u64 {
        let slot = self.empty();
        self.cnode(
            label::CNODE_MINT,
            slot,
            &[source, 64, rights, badge],
            &[fixed::CNODE],
        )
        .ok();
        slot
    }

    /// A thread in the root task's spaces with buffer and reply object; with a round-robin context if `active`. Stopped.
    pub fn thread(&mut self, priority: u64, active: bool) -> Thread {
        let cap = self.make(object::TCB, 0);
        let frame = self.make(object::X86_4K, 0);
        let sc = self.make(object::SCHED_CONTEXT, 9);
        let reply = self.make(object::REPLY, 0);
        let spaces = [fixed::CNODE, fixed::VSPACE, frame];
        let guard = 64 - sel4_abi::boot_info::ROOT_CNODE_BITS;
        self.call(cap, label::TCB_CONFIGURE, &[guard, 0, 0x10_0000], &spaces)
            .ok();
        self.call(cap, label::TCB_SET_PRIORITY, &[priority], &[fixed::TCB])
            .ok();
        self.call(cap, label::TCB_SET_MC_PRIORITY, &[255], &[fixed::TCB])
            .ok();
        if active {
            self.configure(sc, 5000, 5000, 0, 0);
            self.call(sc, label::SCHED_CONTEXT_BIND, &[], &[cap]).ok();
        }
        let Cap::Tcb { object: tcb } = self.cap(cap) else {
            panic!("no TCB")
        };
        tcb.context.rip.set(SYSCALL_AT + 2);
        Thread {
            cap,
            tcb,
            sc,
            reply,
        }
    }
    /// Sets a context's parameters.
    #[track_caller]
    pub fn configure(&mut self, sc: u64, budget: u64, period: u64, extra: u64, badge: u64) {
        let words = [budget, period, extra, badge, 0];
        self.call(
            fixed::FIRST_FREE,
            label::SCHED_CONTROL_CONFIGURE_FLAGS,
            &words,
            &[sc],
        )
        .ok();
    }
    /// Starts a thread.
    pub fn resume(&mut self, thread: Thread) {
        self.call(thread.cap, label::TCB_RESUME, &[], &[]).ok();
    }
    /// Starts a thread, which runs while the root task waits at `gate`.
    #[track_caller]
    pub fn run(&mut self, thread: Thread, gate: u64) {
        self.resume(thread);
        self.wait(gate);
        self.expect_running(thread);
    }
    /// Starts a thread that waits at `endpoint`, with its reply object; the root task runs again.
    #[track_caller]
    pub fn serve(&mut self, thread: Thread, gate: u64, endpoint: u64) {
        self.run(thread, gate);
        self.recv(endpoint, thread.reply);
        self.interrupt();
    }
    /// Takes a thread's time from it: it runs on what its callers lend.
    #[track_caller]
    pub fn take_time(&mut self, thread: Thread) {
        self.call(thread.sc, label::SCHED_CONTEXT_UNBIND, &[], &[])
            .ok();
    }
    /// Sets a thread's fault endpoint.
    pub fn set_handler(&mut self, thread: Thread, endpoint: u64) {
        let guard = 64 - sel4_abi::boot_info::ROOT_CNODE_BITS;
        let caps = [endpoint, fixed::CNODE, fixed::VSPACE];
        self.call(thread.cap, label::TCB_SET_SPACE, &[guard, 0], &caps)
            .ok();
    }
    /// A notification that interrupt 0 signals, so that the test can wake whoever waits for it.
    pub fn gate(&mut self) -> u64 {
        let gate = self.make(object::NOTIFICATION, 0);
        let handler = self.empty();
        let words = [handler, 64, 0, 0, 0, 0, 0];
        self.call(
            fixed::IRQ_CONTROL,
            label::X86_IRQ_ISSUE_IRQ_HANDLER_IOAPIC,
            &words,
            &[fixed::CNODE],
        )
        .ok();
        self.call(handler, label::IRQ_SET_HANDLER, &[], &[gate])
            .ok();
        gate
    }
    /// Interrupt 0.
    pub fn interrupt(&mut self) -> Next {
        self.kernel
            .handle_interrupt(crate::syscall::USER_VECTOR_BASE);
        self.settle()
    }
    /// Time passes, and the timer fires if it was set to before that.
    pub fn pass(&mut self, microseconds: u64) -> Next {
        self.kernel.machine.now += microseconds * super::fake::MHZ;
        self.kernel.handle_interrupt(crate::syscall::TIMER_VECTOR);
        self.settle()
    }

    /// The object of an endpoint capability.
    pub fn endpoint(&self, slot: u64) -> Ref<Endpoint> {
        let Cap::Endpoint { object, .. } = self.cap(slot) else {
            panic!("no endpoint in {slot}")
        };
        object
    }
    /// The object of a notification capability.
    pub fn notification(&self, slot: u64) -> Ref<Notification> {
        let Cap::Notification { object, .. } = self.cap(slot) else {
            panic!("no notification in {slot}")
        };
        object
    }
    /// The object of a reply capability.
    pub fn reply_object(&self, slot: u64) -> Ref<Reply> {
        let Cap::Reply { object, .. } = self.cap(slot) else {
            panic!("no reply object in {slot}")
        };
        object
    }
    /// The root table that a capability of an address space names.
    pub fn space(&self, slot: u64) -> Ref<Page> {
        let Cap::Table { object, .. } = self.cap(slot) else {
            panic!("no table in {slot}")
        };
        object
    }
    /// Where a frame is.
    pub fn frame(&self, slot: u64) -> u64 {
        let Cap::Frame { base, .. } = self.cap(slot) else {
            panic!("no frame in {slot}")
        };
        base
    }
    /// The object of a scheduling context capability.
    pub fn sched_context(&self, slot: u64) -> Ref<SchedContext> {
        let Cap::SchedContext { object, .. } = self.cap(slot) else {
            panic!("no scheduling context in {slot}")
        };
        object
    }
    /// The object of a VCPU capability.
    pub fn vcpu(&self, slot: u64) -> Ref<Vcpu> {
        let Cap::Vcpu { object, .. } = self.cap(slot) else {
            panic!("no VCPU in {slot}")
        };
        object
    }
    /// The object of a pool capability.
    pub fn pool(&self, slot: u64) -> Ref<ShadowPool> {
        let Cap::ShadowPool { object, .. } = self.cap(slot) else {
            panic!("no pool in {slot}")
        };
        object
    }
    /// A thread's state.
    pub fn state(&self, thread: Thread) -> State {
        thread.tcb.state.get()
    }
    /// Looks at every invariant.
    #[track_caller]
    pub fn check(&self) {
        if let Err(what) = Checker::new(self.slot(0), 1024).check(&self.kernel) {
            panic!("{what}");
        }
    }
}
