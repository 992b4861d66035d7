//! Any system call with any registers, by several threads: the kernel stays whole.

use super::fake::{FakeMachine, MHZ};
use super::invariants::check_invariants;
use super::world::{SYSCALL_AT, Thread, World};
use crate::cap::{Cap, SpaceKind};
use crate::context::entry;
use crate::machine::Next;
use crate::object::tcb::State;
use crate::object::vcpu::After;
use sel4_abi::boot_info::slot as fixed;
use sel4_abi::label::{self, fill};
use sel4_abi::message::MessageInfo;
use sel4_abi::{object, syscall};
use std::collections::{BTreeSet, HashMap};
use words::svm::{event, exit, vmcb};

/// A small generator (splitmix64): a seed is a whole run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.word() % bound
    }
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Slots that the run works with.
const LIMIT: u64 = 320;

struct Run {
    world: World,
    random: Random,
    trace: Vec<String>,
    /// Budgets of scheduling contexts, until they are configured again.
    totals: HashMap<u64, u64>,
    idle: u32,
    focus: fn(Cap) -> bool,
    /// Labels of calls that succeeded.
    succeeded: BTreeSet<u64>,
}

/// Kinds of capabilities to invoke.
const KINDS: &[fn(Cap) -> bool] = &[
    |cap| matches!(cap, Cap::ShadowPool { .. }),
    |cap| matches!(cap, Cap::ShadowPool { .. }),
    |cap| matches!(cap, Cap::Vcpu { .. }),
    |cap| matches!(cap, Cap::Frame { .. }),
    |cap| matches!(cap, Cap::Table { .. }),
    |cap| matches!(cap, Cap::Untyped { device: false, .. }),
    |cap| matches!(cap, Cap::Untyped { .. }),
    |cap| matches!(cap, Cap::CNode { .. }),
    |cap| matches!(cap, Cap::CNode { .. }),
    |cap| matches!(cap, Cap::Tcb { .. }),
    |cap| matches!(cap, Cap::Endpoint { .. }),
    |cap| matches!(cap, Cap::Endpoint { .. }),
    |cap| matches!(cap, Cap::Notification { .. }),
    |cap| matches!(cap, Cap::Reply { .. }),
    |cap| matches!(cap, Cap::SchedContext { .. }),
    |cap| matches!(cap, Cap::SchedControl),
    |cap| matches!(cap, Cap::DomainSet),
    |cap| matches!(cap, Cap::IrqControl | Cap::IrqHandler { .. }),
    |cap| matches!(cap, Cap::IoPortControl | Cap::IoPort { .. }),
    |cap| matches!(cap, Cap::AsidControl | Cap::AsidPool { .. }),
    |cap| !cap.is_null(),
];

/// A system with some of everything in it.
fn populate(random: &mut Random) -> World {
    let mut w = World::with(FakeMachine::new());
    w.gate();
    let endpoints: Vec<u64> = (0..3).map(|_| w.make(object::ENDPOINT, 0)).collect();
    for n in 0..4 {
        w.mint(endpoints[n % 3], 15, 1 + n as u64);
        w.make(object::NOTIFICATION, 0);
        w.make(object::REPLY, 0);
    }
    let threads: Vec<Thread> = (0..5)
        .map(|n| w.thread(100 + 20 * random.below(3), n < 3))
        .collect();
    for thread in &threads {
        w.set_handler(*thread, endpoints[0]);
        w.resume(*thread);
    }
    w.make(object::CAP_TABLE, 4);
    w.make(object::CAP_TABLE, 1);
    for _ in 0..3 {
        w.make(object::UNTYPED, 14);
    }
    w.make(object::UNTYPED, 18);
    w.make(object::UNTYPED, 12);
    for ty in [object::X64_PML4, object::GUEST_PML4, object::GUEST_PML4] {
        let root = w.make(ty, 0);
        w.call(fixed::ASID_POOL, label::X86_ASID_POOL_ASSIGN, &[], &[root])
            .ok();
        for ty in [
            object::X86_PDPT,
            object::X86_PAGE_DIRECTORY,
            object::X86_PAGE_TABLE,
        ] {
            let guest = [
                object::GUEST_PDPT,
                object::GUEST_PAGE_DIRECTORY,
                object::GUEST_PAGE_TABLE,
            ];
            let ty = if matches!(
                w.cap(root),
                Cap::Table {
                    kind: SpaceKind::Guest,
                    ..
                }
            ) {
                guest[[
                    object::X86_PDPT,
                    object::X86_PAGE_DIRECTORY,
                    object::X86_PAGE_TABLE,
                ]
                .iter()
                .position(|&host| host == ty)
                .expect("one of them")]
            } else {
                ty
            };
            let table = w.make(ty, 0);
            let map = map_label(w.cap(table));
            w.call(table, map, &[0, 0], &[root]).ok();
        }
    }
    for _ in 0..6 {
        w.make(object::X86_4K, 0);
    }
    w.make(object::X86_LARGE_PAGE, 0);
    let spaces: Vec<u64> = (0..LIMIT)
        .filter(|&n| {
            matches!(
                w.cap(n),
                Cap::Table {
                    level: 4,
                    kind: SpaceKind::Guest,
                    ..
                }
            )
        })
        .collect();
    for space in spaces {
        let vcpu = w.make(object::VCPU, 0);
        let pool = w.make(object::SHADOW_POOL, 5);
        w.call(pool, label::POOL_BIND_VCPU, &[], &[vcpu]).ok();
        w.call(pool, label::POOL_BIND_SPACE, &[], &[space]).ok();
        for page in 0..4 {
            let frame = w.make(object::X86_4K, 0);
            w.call(frame, label::PAGE_MAP_GUEST, &[page << 12, 3, 0], &[space])
                .ok();
            w.call(pool, label::POOL_RESET, &[page, 4 - page], &[]).ok();
        }
    }
    let ports = w.empty();
    w.call(
        fixed::IO_PORT_CONTROL,
        label::X86_IO_PORT_CONTROL_ISSUE,
        &[0x3f8, 0x3ff, ports, 64],
        &[fixed::CNODE],
    )
    .ok();
    assert!(w.next_slot < LIMIT - 40);
    w
}

fn map_label(cap: Cap) -> u64 {
    let Cap::Table { level, kind, .. } = cap else {
        return 0;
    };
    match (kind, level) {
        (SpaceKind::Host, 3) => label::X86_PDPT_MAP,
        (SpaceKind::Host, 2) => label::X86_PAGE_DIRECTORY_MAP,
        (SpaceKind::Host, _) => label::X86_PAGE_TABLE_MAP,
        (SpaceKind::Guest, 3) => label::GUEST_PDPT_MAP,
        (SpaceKind::Guest, 2) => label::GUEST_PAGE_DIRECTORY_MAP,
        (SpaceKind::Guest, _) => label::GUEST_PAGE_TABLE_MAP,
    }
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let world = populate(&mut random);
        Self {
            world,
            random,
            trace: Vec::new(),
            totals: HashMap::new(),
            idle: 0,
            focus: KINDS[0],
            succeeded: BTreeSet::new(),
        }
    }

    fn slot(&mut self) -> u64 {
        if self.random.chance(5) {
            self.random.word()
        } else {
            self.random.below(LIMIT)
        }
    }

    /// A slot that holds something of the kind.
    fn slot_of(&mut self, wanted: impl Fn(Cap) -> bool) -> u64 {
        let all: Vec<u64> = (0..LIMIT).filter(|&n| wanted(self.world.cap(n))).collect();
        if all.is_empty() {
            self.random.below(LIMIT)
        } else {
            self.random.pick(&all)
        }
    }

    fn empty(&mut self) -> u64 {
        self.slot_of(Cap::is_null)
    }

    fn value(&mut self) -> u64 {
        match self.random.below(8) {
            0 => self.random.word(),
            1 => self.random.pick(&[
                0,
                1,
                2,
                3,
                4,
                5,
                12,
                14,
                16,
                64,
                512,
                4096,
                u64::MAX,
                1 << 47,
                0x1000,
                0x20_0000,
            ]),
            2 => self.random.below(4) * 4096,
            3 | 4 => self.random.below(24),
            _ => self.random.below(LIMIT),
        }
    }

    /// Label, words and capabilities that may make sense for `cap`.
    fn sensible(&mut self, cap: Cap) -> (u64, Vec<u64>, Vec<u64>) {
        let any = |_: Cap| true;
        let tcb = |cap: Cap| matches!(cap, Cap::Tcb { .. });
        let host = match cap {
            Cap::Table { kind, .. } => kind == SpaceKind::Host,
            _ => self.random.chance(30),
        };
        let host = host && self.random.chance(90);
        let space = move |cap: Cap| match cap {
            Cap::Table {
                level: 4,
                kind,
                mapping,
                ..
            } => host == (kind == SpaceKind::Host) || mapping.is_none(),
            _ => false,
        };
        let sc = |cap: Cap| matches!(cap, Cap::SchedContext { .. });
        let guard = 64 - sel4_abi::boot_info::ROOT_CNODE_BITS;
        let r = |this: &mut Self, n: u64| this.random.below(n);
        match cap {
            Cap::Untyped { .. } => {
                let ty = r(self, object::COUNT);
                let bits = match ty {
                    object::UNTYPED => 4 + r(self, 12),
                    object::SCHED_CONTEXT => 7 + r(self, 3),
                    object::SHADOW_POOL => 5 + r(self, 2),
                    _ => 1 + r(self, 5),
                };
                (
                    label::UNTYPED_RETYPE,
                    vec![ty, bits, 0, 0, self.empty(), 1 + r(self, 2)],
                    vec![fixed::CNODE],
                )
            }
            Cap::CNode { radix, .. } => {
                let depth = if radix == 16 { 64 } else { u64::from(radix) };
                let operation = label::CNODE_REVOKE + r(self, 8);
                let dest = if (label::CNODE_COPY..=label::CNODE_MUTATE).contains(&operation)
                    && self.random.chance(90)
                {
                    self.empty()
                } else {
                    self.slot_of(any)
                };
                // What the run stands on is taken away only now and then.
                let dest =
                    if dest < 16 && operation <= label::CNODE_DELETE && self.random.chance(90) {
                        40
                    } else {
                        dest
                    };
                let source = self.slot_of(|cap| !cap.is_null());
                match operation {
                    label::CNODE_ROTATE => {
                        let pivot = self.slot_of(|cap| !cap.is_null());
                        (
                            operation,
                            vec![dest, depth, 0, pivot, 64, 0, source, 64],
                            vec![fixed::CNODE; 2],
                        )
                    }
                    _ => {
                        let words = vec![dest, depth, source, 64, r(self, 16), r(self, 4)];
                        (operation, words, vec![fixed::CNODE])
                    }
                }
            }
            Cap::Tcb { object } => {
                let bound = object.notification.get().is_some();
                let operation = match r(self, 8) {
                    0 if bound => label::TCB_UNBIND_NOTIFICATION,
                    0 => label::TCB_BIND_NOTIFICATION,
                    _ => label::TCB_READ_REGISTERS + r(self, 16),
                };
                let frame = self.slot_of(|cap| matches!(cap, Cap::Frame { .. }));
                let handler = self.slot_of(|cap| matches!(cap, Cap::Endpoint { .. } | Cap::Null));
                let (authority, context) = (self.slot_of(tcb), self.slot_of(sc));
                match operation {
                    label::TCB_CONFIGURE => (
                        operation,
                        vec![guard, 0, 0x1000],
                        vec![fixed::CNODE, fixed::VSPACE, frame],
                    ),
                    label::TCB_SET_SPACE => (
                        operation,
                        vec![guard, 0],
                        vec![handler, fixed::CNODE, fixed::VSPACE],
                    ),
                    label::TCB_SET_SCHED_PARAMS => (
                        operation,
                        vec![255, 90 + r(self, 60)],
                        vec![authority, context, handler],
                    ),
                    label::TCB_SET_PRIORITY => (operation, vec![90 + r(self, 60)], vec![authority]),
                    label::TCB_SET_MC_PRIORITY => (operation, vec![255], vec![authority]),
                    label::TCB_SET_TIMEOUT_ENDPOINT => (operation, vec![], vec![handler]),
                    label::TCB_BIND_NOTIFICATION => {
                        let bound = self.slot_of(|cap| matches!(cap, Cap::Notification { .. }));
                        (operation, vec![], vec![bound])
                    }
                    label::TCB_WRITE_REGISTERS => {
                        (operation, vec![r(self, 2), 1, SYSCALL_AT + 2], vec![])
                    }
                    label::TCB_SET_FLAGS => (operation, vec![1, r(self, 2)], vec![]),
                    _ => (
                        operation,
                        vec![r(self, 4), 1 + r(self, 4), self.value()],
                        vec![authority],
                    ),
                }
            }
            Cap::SchedControl => {
                let period = self.random.pick(&[40, 100, 1000]);
                let budget = if self.random.chance(30) {
                    period
                } else {
                    20 + r(self, 20)
                };
                let words = vec![budget, period, r(self, 3), r(self, 9), r(self, 2)];
                (
                    label::SCHED_CONTROL_CONFIGURE_FLAGS,
                    words,
                    vec![self.slot_of(sc)],
                )
            }
            Cap::SchedContext { .. } => {
                let other =
                    self.slot_of(|cap| matches!(cap, Cap::Tcb { .. } | Cap::Notification { .. }));
                (label::SCHED_CONTEXT_BIND + r(self, 5), vec![], vec![other])
            }
            Cap::DomainSet => {
                let words = vec![r(self, 8) / 7, r(self, 8) / 7, r(self, 3)];
                (
                    label::DOMAIN_SET_SET + r(self, 3),
                    words,
                    vec![self.slot_of(tcb)],
                )
            }
            Cap::IrqControl => {
                let words = vec![
                    self.empty(),
                    64,
                    0,
                    r(self, 24),
                    r(self, 2),
                    r(self, 2),
                    r(self, 8),
                ];
                (
                    label::X86_IRQ_ISSUE_IRQ_HANDLER_IOAPIC + r(self, 2),
                    words,
                    vec![fixed::CNODE],
                )
            }
            Cap::IrqHandler { .. } => {
                let bound = self.slot_of(|cap| matches!(cap, Cap::Notification { .. }));
                (label::IRQ_ACK + r(self, 3), vec![], vec![bound])
            }
            Cap::IoPortControl => {
                let first = r(self, 32);
                (
                    label::X86_IO_PORT_CONTROL_ISSUE,
                    vec![first, first + r(self, 4), self.empty(), 64],
                    vec![fixed::CNODE],
                )
            }
            Cap::IoPort { first, .. } => (
                label::X86_IO_PORT_IN8 + r(self, 6),
                vec![u64::from(first) + r(self, 3), 7],
                vec![],
            ),
            Cap::AsidControl => {
                let untyped = self.slot_of(|cap| matches!(cap, Cap::Untyped { bits: 12, .. }));
                (
                    label::X86_ASID_CONTROL_MAKE_POOL,
                    vec![self.empty(), 64],
                    vec![untyped, fixed::CNODE],
                )
            }
            Cap::AsidPool { .. } => (
                label::X86_ASID_POOL_ASSIGN,
                vec![],
                vec![self.slot_of(space)],
            ),
            Cap::Frame { .. } => {
                let map = if host {
                    label::X86_PAGE_MAP
                } else {
                    label::PAGE_MAP_GUEST
                };
                let operation = self.random.pick(&[
                    map,
                    map,
                    label::X86_PAGE_UNMAP,
                    label::X86_PAGE_GET_ADDRESS,
                ]);
                (
                    operation,
                    vec![r(self, 6) * 4096, r(self, 4), 0],
                    vec![self.slot_of(space)],
                )
            }
            Cap::Table { mapping, .. } => {
                let unmap = u64::from(mapping.is_some() && self.random.chance(40));
                let address = self.random.pick(&[0, 1 << 21, 1 << 30, 1 << 39]);
                (
                    map_label(cap) + unmap,
                    vec![address, 0],
                    vec![self.slot_of(space)],
                )
            }
            Cap::Vcpu { .. } => {
                let operation = label::VCPU_BIND_TCB + r(self, 8);
                let mask =
                    1 << r(self, 64) | 1 << r(self, 64) | u64::from(self.random.chance(30)) << 22;
                let mut words = vec![mask];
                (0..mask.count_ones()).for_each(|_| {
                    words.push(
                        self.random
                            .pick(&[0, 1, 0x500, 0x8000_0021, u64::MAX, 0x1000]),
                    )
                });
                let other = if operation == label::VCPU_SET_NESTED {
                    self.slot_of(space)
                } else {
                    self.slot_of(tcb)
                };
                (operation, words, vec![other])
            }
            Cap::ShadowPool { object, .. } => {
                let any = self.random.pick(&[
                    label::POOL_BIND_SPACE,
                    label::POOL_BIND_VCPU,
                    label::POOL_RESET,
                    label::POOL_RESET,
                    label::POOL_RESET,
                    label::POOL_LINK,
                    label::POOL_LINK,
                    label::POOL_FILL,
                    label::POOL_FILL,
                    label::POOL_CLEAR,
                    label::POOL_HARVEST,
                    label::POOL_SET_ROOT,
                    label::POOL_SET_ROOT,
                    label::POOL_INVALIDATE,
                    label::POOL_RETIRE,
                    label::POOL_INFO,
                ]);
                let operation = match object.space.get() {
                    None if self.random.chance(30) => label::POOL_BIND_SPACE,
                    _ => any,
                };
                let page = |this: &mut Self| this.random.below(7);
                let (a, b) = (page(self), page(self));
                let words = match operation {
                    label::POOL_RESET if self.random.chance(70) => vec![a % 4, 4 - a % 4],
                    label::POOL_RESET => {
                        vec![a, 1 + r(self, 5), b, page(self), page(self), page(self)]
                    }
                    label::POOL_LINK if self.random.chance(80) => {
                        vec![(a % 3) | (r(self, 4) << 32), a % 3 + 1]
                    }
                    label::POOL_LINK => {
                        vec![a | r(self, 4) << 32, b, b | r(self, 4) << 32, page(self)]
                    }
                    label::POOL_FILL if self.random.chance(70) => {
                        vec![3 | r(self, 4) << 32, r(self, 5), r(self, 16) << 2]
                    }
                    label::POOL_FILL => vec![
                        a | r(self, 4) << 32,
                        r(self, 8),
                        r(self, 64) & !(fill::SIZE_MASK & 2),
                    ],
                    label::POOL_CLEAR | label::POOL_HARVEST => {
                        vec![a | r(self, 4) << 32, 1 + r(self, 4)]
                    }
                    _ => vec![a, self.value()],
                };
                let other = if operation == label::POOL_BIND_SPACE {
                    self.slot_of(space)
                } else {
                    self.slot_of(|cap| matches!(cap, Cap::Vcpu { .. }))
                };
                (operation, words, vec![other])
            }
            _ => (
                self.random.below(8),
                (0..self.random.below(8)).collect(),
                vec![self.slot_of(any)],
            ),
        }
    }

    /// What to invoke: one kind of capability for a while, so that an object gets somewhere.
    fn target(&mut self) -> u64 {
        if self.random.chance(6) {
            self.focus = self.random.pick(KINDS);
        }
        let kind = if self.random.chance(60) {
            self.focus
        } else {
            self.random.pick(KINDS)
        };
        self.slot_of(kind)
    }

    fn system_call(&mut self) {
        let current = self.world.current();
        let wild = self.random.chance(15);
        let target = self.target();
        let (mut operation, mut words, mut caps) = self.sensible(self.world.cap(target));
        if wild {
            operation = self.random.pick(label::ALL).1;
            words = (0..self.random.below(9)).map(|_| self.value()).collect();
            caps = (0..self.random.below(4)).map(|_| self.slot()).collect();
        }
        if self.random.chance(5) && !words.is_empty() {
            let n = self.random.below(words.len() as u64) as usize;
            words[n] = self.value();
        }
        let number = if self.random.chance(75) {
            self.random
                .pick(&[syscall::CALL, syscall::CALL, syscall::CALL, syscall::SEND])
        } else {
            self.random.pick(&[
                syscall::RECV,
                syscall::RECV,
                syscall::NB_RECV,
                syscall::WAIT,
                syscall::NB_WAIT,
                syscall::REPLY_RECV,
                syscall::NB_SEND_RECV,
                syscall::NB_SEND_WAIT,
                syscall::NB_SEND,
                syscall::YIELD,
                syscall::DEBUG_CAP_IDENTIFY,
                syscall::SET_TLS_BASE,
                -40,
            ])
        };
        let receives = matches!(
            number,
            syscall::RECV
                | syscall::NB_RECV
                | syscall::WAIT
                | syscall::NB_WAIT
                | syscall::REPLY_RECV
                | syscall::NB_SEND_RECV
                | syscall::NB_SEND_WAIT
        );
        let cap = if receives && !wild {
            self.slot_of(|cap| matches!(cap, Cap::Endpoint { .. } | Cap::Notification { .. }))
        } else if wild {
            self.slot()
        } else {
            target
        };
        let reply = self.slot_of(|cap| matches!(cap, Cap::Reply { .. }));
        self.trace.push(format!(
            "{current:?} calls {number} cap {cap} {:?} label {operation:#x} words {words:x?} caps {caps:?}",
            self.world.cap(cap % LIMIT)
        ));
        if operation == label::SCHED_CONTROL_CONFIGURE_FLAGS {
            self.totals.clear();
        }
        let context = &current.context;
        context
            .rsi
            .set(MessageInfo::new(operation, 0, caps.len() as u64, words.len() as u64).word());
        self.world.message(operation, &words, &caps);
        if let Some(buffer) = self.world.kernel.ipc_buffer(current, true) {
            buffer.receive_cnode.set(fixed::CNODE);
            buffer.receive_index.set(self.random.below(LIMIT));
            buffer.receive_depth.set(64);
        }
        context.rdi.set(cap);
        context.r12.set(reply);
        context.r13.set(target);
        context.rip.set(SYSCALL_AT + 2);
        context.entered_by.set(entry::SYSCALL);
        context.rdx.set(number as u64);
        let message = !matches!(
            self.world.cap(cap % LIMIT),
            Cap::Endpoint { .. } | Cap::Notification { .. } | Cap::Reply { .. }
        );
        super::fastpath::compare_syscall(&mut self.world.kernel, number);
        // As at the processor's edge, the short way first; or the long one alone, which must be able to do everything.
        let short = self.random.chance(50) && self.world.kernel.fast_syscall(number).is_some();
        if !short {
            self.world.kernel.handle_syscall(number);
        }
        let answered = number == syscall::CALL && message && current.state.get() == State::Running;
        if answered && context.rsi.get() >> 12 == 0 {
            self.succeeded.insert(operation);
        }
    }

    fn user(&mut self) {
        let context = &self.world.current().context;
        if context.rip.get() == SYSCALL_AT {
            // The last call is done again.
            context.rip.set(SYSCALL_AT + 2);
            context.entered_by.set(entry::SYSCALL);
            self.totals.clear();
            self.trace.push("again".into());
            self.world.kernel.handle_syscall(context.rdx.get() as i64);
        } else if self.random.chance(2) {
            self.trace.push("exception".into());
            context.entered_by.set(entry::FULL);
            let vector = self.random.pick(&[7, 13, 14]);
            self.world.kernel.handle_exception(vector, 4, 0x1234);
        } else {
            self.system_call();
        }
    }

    fn guest(&mut self, at: u64) {
        let vcpu: crate::mem::Ref<crate::object::Vcpu> = crate::mem::Ref::at(at);
        assert_ne!(vcpu.tag.get(), 0, "tag 0");
        assert_eq!(vcpu.read(vmcb::ASID) as u32, vcpu.tag.get());
        let code = self.random.pick(&[
            exit::INTR,
            exit::EXCEPTION + 14,
            exit::EXCEPTION + 7,
            exit::HLT,
            exit::IOIO,
            exit::CPUID,
            exit::INVLPG,
            exit::WRITE_CR0 + 3,
            exit::SHUTDOWN,
            exit::VINTR,
            exit::INVALID,
            exit::XSETBV,
        ]);
        vcpu.write(vmcb::EXITCODE, code);
        vcpu.write(
            vmcb::EXITINTINFO,
            self.random
                .pick(&[0, event::interrupt(32), event::exception(6)]),
        );
        self.trace.push(format!("guest exit {code:#x}"));
        if self.world.kernel.handle_guest_exit() == After::Interrupt {
            self.world
                .kernel
                .handle_interrupt(crate::syscall::TIMER_VECTOR);
        }
    }

    /// One turn of the loop at the processor's edge: ask what runs, run it, tell what happened.
    fn turn(&mut self) {
        let next = self.world.kernel.decide();
        self.check();
        let machine = &mut self.world.kernel.machine;
        machine.now += self.random.pick(&[0, 100, MHZ, 30 * MHZ]);
        machine.pending = self.random.chance(20);
        if machine.now >= machine.deadline && next != Next::Idle {
            self.trace.push("timer".into());
            self.world
                .kernel
                .handle_interrupt(crate::syscall::TIMER_VECTOR);
            return;
        }
        if self.random.chance(3) {
            self.trace.push("interrupt".into());
            let vector = crate::syscall::USER_VECTOR_BASE + self.random.below(8) as u8;
            self.world.kernel.handle_interrupt(vector);
            return;
        }
        match next {
            Next::User { .. } => {
                self.idle = 0;
                self.user();
            }
            Next::Guest { vmcb, .. } => self.guest(vmcb.bits()),
            Next::Idle => {
                self.idle += 1;
                self.world.kernel.machine.now += 100 * MHZ;
                self.world
                    .kernel
                    .handle_interrupt(crate::syscall::USER_VECTOR_BASE);
            }
        }
    }

    fn check(&mut self) {
        if let Err(what) = check_invariants(&self.world.kernel, self.world.slot(0), LIMIT) {
            let last = self.trace.len().saturating_sub(25);
            panic!("{what}\nafter:\n{}", self.trace[last..].join("\n"));
        }
        for n in 0..LIMIT {
            let Cap::SchedContext { object: sc, .. } = self.world.cap(n) else {
                continue;
            };
            if sc.is_active() {
                let total = *self.totals.entry(sc.bits()).or_insert(sc.total());
                assert_eq!(
                    sc.total(),
                    total,
                    "refills do not sum to the budget\n{:#?}",
                    self.trace.last()
                );
            }
        }
    }

    fn steps(&mut self, count: u64) -> u64 {
        for done in 0..count {
            if self.idle > 30 {
                return done.max(1);
            }
            self.turn();
        }
        count
    }
}

/// Runs until `count` steps were made, in as many systems as it takes.
fn run(seed: u64, count: u64) {
    let mut done = 0;
    let mut seed = seed;
    let mut succeeded = BTreeSet::new();
    while done < count {
        seed += 1;
        let result = std::panic::catch_unwind(|| {
            let mut run = Run::new(seed);
            let steps = run.steps((count - done).min(4000));
            (steps, core::mem::take(&mut run.succeeded))
        });
        match result {
            Ok((steps, labels)) => {
                done += steps;
                succeeded.extend(labels);
            }
            Err(panic) => {
                eprintln!("seed {seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    // A run that only collects errors proves little.
    let idle: Vec<&str> = label::ALL
        .iter()
        .filter(|(_, label)| !succeeded.contains(label))
        .map(|&(name, _)| name)
        .collect();
    assert!(
        idle.len() <= NEVER,
        "operations that never succeeded: {idle:?}"
    );
}

/// Operations that need not succeed: those that are not built, and in a short run those that rarely fit.
const NEVER: usize = if cfg!(miri) {
    usize::MAX
} else if cfg!(debug_assertions) {
    40
} else {
    12
};
/// Steps of each test; `UMBRA_RANDOM_STEPS` asks for others.
const STEPS: u64 = if cfg!(miri) { 50 } else { 10_000 };

fn steps() -> u64 {
    std::env::var("UMBRA_RANDOM_STEPS")
        .ok()
        .and_then(|steps| steps.parse().ok())
        .unwrap_or(STEPS)
}

#[test]
fn random_system_calls_leave_every_invariant_standing() {
    run(0x5eed_0000, steps());
}

#[test]
fn random_system_calls_of_other_seeds_do_so_too() {
    run(0xfeed_0000, steps());
}
