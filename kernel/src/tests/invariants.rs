//! The kernel's invariants, over everything a system's capabilities reach.
//!
//! A [`Checker`] looks at all of it each time. What follows from the slots alone (which objects there are, the derivation
//! lists, what lies where) it works out again only when a slot it came to has changed: otherwise it would find the same.

use crate::cap::{Cap, Mapping, SpaceKind, ZombieKind};
use crate::cspace::slot_at;
use crate::kernel::{Action, Kernel};
use crate::machine::Machine;
use crate::mem::{Page, Ref};
use crate::object::tcb::{State, slots};
use crate::object::{AsidPool, Endpoint, Notification, Reply, SchedContext, ShadowPool, Tcb, Vcpu};
use crate::slot::{self, Slot};
use core::cell::Cell;
use core::hash::{BuildHasherDefault, Hasher};
use sel4_abi::label::LEVEL_PAE_ROOT;
use std::collections::{BTreeSet, HashMap, HashSet};
use words::x86::pte;

type Check = Result<(), String>;

macro_rules! ensure {
    ($condition:expr, $($text:tt)*) => {
        if !$condition {
            return Err(format!($($text)*));
        }
    };
}

/// Spreads addresses, which nobody chooses so that they collide.
#[derive(Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_right(29);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

type Spread = BuildHasherDefault<AddressHasher>;
type Addresses = HashSet<u64, Spread>;

/// A slot's four words: the capability, and its place with the marks.
fn content(at: u64) -> [u64; 4] {
    let words: Ref<[Cell<u64>; 4]> = Ref::at(at);
    [0, 1, 2, 3].map(|n: usize| words[n].get())
}

/// All slots there are, and the objects that their capabilities name.
#[derive(Default)]
struct Found {
    /// Addresses that were looked at, and what was there.
    read: Vec<(u64, [u64; 4])>,
    seen: Addresses,
    /// Those that hold something, in no order.
    slots: Vec<(Ref<Slot>, Cap)>,
    empty: Vec<Ref<Slot>>,
    tcbs: Vec<Ref<Tcb>>,
    endpoints: Vec<Ref<Endpoint>>,
    notifications: Vec<Ref<Notification>>,
    replies: Vec<Ref<Reply>>,
    contexts: Vec<Ref<SchedContext>>,
    asid_pools: Vec<Ref<AsidPool>>,
    vcpus: Vec<Ref<Vcpu>>,
    pools: Vec<Ref<ShadowPool>>,
    /// Base, size, ASID, address, whether a guest's: frames that capabilities say are mapped.
    frames: BTreeSet<(u64, u8, u16, u64, bool)>,
    /// Tables and their levels.
    tables: BTreeSet<(u64, u8)>,
}

/// Puts references in order, each once.
fn sort<T>(all: &mut Vec<Ref<T>>) {
    all.sort_unstable_by_key(|object| object.bits());
    all.dedup();
}

fn is_among<T>(all: &[Ref<T>], object: Ref<T>) -> bool {
    all.binary_search_by_key(&object.bits(), |other| other.bits())
        .is_ok()
}

impl Found {
    /// Everything reached from the first `limit` slots of the CNode at `root`.
    fn collect<M: Machine>(&mut self, kernel: &Kernel<M>, root: Ref<Slot>, limit: u64) {
        let mut work: Vec<u64> = (0..limit).map(|n| root.bits() + 32 * n).collect();
        work.extend((0..crate::kernel::IRQS as u64).map(|n| kernel.irq_slots + 32 * n));
        for tcb in [kernel.current, kernel.idle] {
            work.extend((0..slots::COUNT).map(|n| tcb.slot(n).bits()));
        }
        let mut containers = Addresses::default();
        containers.insert(root.bits());
        self.clear();
        while let Some(at) = work.pop() {
            if !self.seen.insert(at) {
                continue;
            }
            self.read.push((at, content(at)));
            let slot: Ref<Slot> = Ref::at(at);
            let cap = slot.cap();
            if slot.is_empty() {
                self.empty.push(slot);
                continue;
            }
            self.slots.push((slot, cap));
            self.name(cap);
            work.extend(
                [slot.next(), slot.prev()]
                    .into_iter()
                    .flatten()
                    .map(Ref::bits),
            );
            let (base, count) = match cap {
                Cap::CNode { object, radix, .. } => (object, 1 << radix),
                Cap::Tcb { object } => (object.bits(), slots::COUNT as u64),
                Cap::Zombie {
                    object,
                    kind: ZombieKind::Tcb | ZombieKind::CNode { .. },
                    count,
                } => (object, count),
                _ => continue,
            };
            if containers.insert(base) {
                work.extend((0..count).map(|n| slot_at(base, n).bits()));
            }
        }
        self.tcbs.push(kernel.idle);
        sort(&mut self.tcbs);
        sort(&mut self.endpoints);
        sort(&mut self.notifications);
        sort(&mut self.replies);
        sort(&mut self.contexts);
        sort(&mut self.asid_pools);
        sort(&mut self.vcpus);
        sort(&mut self.pools);
    }

    fn clear(&mut self) {
        self.read.clear();
        self.seen.clear();
        self.slots.clear();
        self.empty.clear();
        self.tcbs.clear();
        self.endpoints.clear();
        self.notifications.clear();
        self.replies.clear();
        self.contexts.clear();
        self.asid_pools.clear();
        self.vcpus.clear();
        self.pools.clear();
        self.frames.clear();
        self.tables.clear();
    }

    /// Notes the object that a capability names.
    fn name(&mut self, cap: Cap) {
        match cap {
            Cap::Tcb { object } => self.tcbs.push(object),
            Cap::Endpoint { object, .. } => self.endpoints.push(object),
            Cap::Notification { object, .. } => self.notifications.push(object),
            Cap::Reply { object, .. } => self.replies.push(object),
            Cap::SchedContext { object, .. } => self.contexts.push(object),
            Cap::AsidPool { object, .. } => self.asid_pools.push(object),
            Cap::Vcpu { object, .. } => self.vcpus.push(object),
            Cap::ShadowPool { object, .. } => self.pools.push(object),
            Cap::Zombie { object, kind, .. } => match kind {
                ZombieKind::Tcb => self.tcbs.push(Ref::at(object)),
                ZombieKind::Endpoint => self.endpoints.push(Ref::at(object)),
                ZombieKind::Notification => self.notifications.push(Ref::at(object)),
                ZombieKind::AsidPool { .. } => self.asid_pools.push(Ref::at(object)),
                ZombieKind::CNode { .. } => {}
            },
            Cap::Frame {
                base,
                size,
                mapping:
                    Some(Mapping {
                        asid,
                        address,
                        kind,
                    }),
                ..
            } => {
                let guest = kind == SpaceKind::Guest;
                self.frames.insert((base, size, asid, address, guest));
            }
            Cap::Table { object, level, .. } => {
                self.tables.insert((object.bits(), level));
            }
            _ => {}
        }
    }

    /// Whether a search would come to the same slots and find the same in them.
    fn is_current<M: Machine>(&self, kernel: &Kernel<M>) -> bool {
        let begins = |tcb: Ref<Tcb>| self.seen.contains(&tcb.slot(0).bits());
        !self.read.is_empty()
            && begins(kernel.current)
            && self.read.iter().all(|&(at, words)| content(at) == words)
    }
}

/// Looks at one system, as often as asked.
pub struct Checker {
    root: Ref<Slot>,
    limit: u64,
    found: Found,
    /// How often a slot had changed.
    version: u64,
}

impl Checker {
    /// For the system whose first CNode has slot 0 at `root`; its first `limit` slots are looked at.
    pub fn new(root: Ref<Slot>, limit: u64) -> Self {
        Self {
            root,
            limit,
            found: Found::default(),
            version: 0,
        }
    }

    /// Grows when any slot has changed since the last look.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The scheduling contexts found by the last look.
    pub fn contexts(&self) -> &[Ref<SchedContext>] {
        &self.found.contexts
    }

    /// Checks every invariant; `Err` says in words which does not hold.
    pub fn check<M: Machine>(&mut self, kernel: &Kernel<M>) -> Check {
        if !self.found.is_current(kernel) {
            self.version += 1;
            self.found.collect(kernel, self.root, self.limit);
            let sound = slots_and_memory(&self.found);
            if sound.is_err() {
                self.found.clear();
            }
            sound?;
        }
        threads(kernel, &self.found)?;
        endpoints(&self.found)?;
        contexts(kernel, &self.found)?;
        let roots = spaces(kernel, &self.found)?;
        pools(&self.found, &roots)
    }
}

/// What follows from the slots alone: the derivation lists, and which memory is what.
fn slots_and_memory(found: &Found) -> Check {
    linked(found)?;
    let mut counted = 0;
    for &(head, _) in found.slots.iter().filter(|(slot, _)| slot.prev().is_none()) {
        counted += derivation_list(head)?;
    }
    ensure!(
        counted == found.slots.len(),
        "{} of {} slots are in lists",
        counted,
        found.slots.len()
    );
    memory(found)
}

/// Neighbours in the derivation lists know each other; empty slots are in none.
fn linked(found: &Found) -> Check {
    for slot in &found.empty {
        ensure!(
            slot.next().is_none() && slot.prev().is_none(),
            "empty slot {slot:?} is linked"
        );
    }
    for &(slot, cap) in &found.slots {
        if let Some(next) = slot.next() {
            ensure!(!next.is_empty(), "{slot:?}: the next slot is empty");
            ensure!(
                next.prev() == Some(slot),
                "{slot:?} {cap:?}: the next slot does not point back"
            );
        }
        if let Some(prev) = slot.prev() {
            ensure!(
                prev.next() == Some(slot),
                "{slot:?} {cap:?}: the previous slot does not point here"
            );
        }
    }
    Ok(())
}

/// A capability in a list: one of those that all slots since then were derived from, or one after whose descendants others
/// came.
#[derive(Clone, Copy)]
struct Ancestor {
    slot: Ref<Slot>,
    cap: Cap,
}

/// Capabilities whose descendants ended before the list does.
#[derive(Default)]
struct Closed {
    untyped: Vec<Ancestor>,
    /// By where their objects are: no object lies inside another.
    objects: HashMap<u64, Vec<Ancestor>, Spread>,
    others: Vec<Ancestor>,
}

impl Closed {
    fn push(&mut self, ancestor: Ancestor) {
        // Badges tell siblings of the same badge apart only by a mark on the first.
        if badge(ancestor.cap) != 0 {
            return;
        }
        match (ancestor.cap, ancestor.cap.extent()) {
            (Cap::Untyped { .. }, _) => self.untyped.push(ancestor),
            (_, Some((start, _))) => self.objects.entry(start).or_default().push(ancestor),
            (_, None) => self.others.push(ancestor),
        }
    }

    /// One that is `slot`'s ancestor all the same.
    fn parent_of(&self, slot: Ref<Slot>, cap: Cap) -> Option<Cap> {
        let is_parent = |ancestor: &&Ancestor| slot::is_parent(ancestor.slot, slot);
        let found = match cap.extent() {
            None => self.others.iter().find(is_parent),
            Some((start, _)) => {
                let around = |ancestor: &&Ancestor| ancestor.cap.covers(cap);
                let untyped = self.untyped.iter().filter(around).find(is_parent);
                let same = self.objects.get(&start).into_iter().flatten();
                untyped.or_else(|| same.clone().find(is_parent))
            }
        };
        found.map(|ancestor| ancestor.cap)
    }
}

/// Walks a derivation list, which is no circle because neighbours know each other and the head has none before it, and
/// answers its length: each capability's descendants follow it without a gap, none allows
/// what those it is derived from do not, and what was made of untyped memory lies below the watermark.
fn derivation_list(head: Ref<Slot>) -> Result<usize, String> {
    let mut open: Vec<Ancestor> = Vec::new();
    let mut closed = Closed::default();
    let (mut at, mut length) = (Some(head), 0);
    while let Some(slot) = at {
        length += 1;
        let cap = slot.cap();
        open.retain(|&ancestor| {
            let below = slot::is_parent(ancestor.slot, slot);
            if !below {
                closed.push(ancestor);
            }
            below
        });
        if let Some(parent) = closed.parent_of(slot, cap) {
            return Err(format!(
                "{cap:?} is derived from {parent:?} but does not follow its other descendants"
            ));
        }
        for ancestor in &open {
            derived(ancestor.cap, cap)?;
        }
        if let Cap::Untyped { bits, free, .. } = cap {
            ensure!(free << 4 <= 1 << bits, "{cap:?}: the watermark is outside");
        }
        open.push(Ancestor { slot, cap });
        at = slot.next();
    }
    Ok(length)
}

/// What `cap` is derived from bounds it.
fn derived(ancestor: Cap, cap: Cap) -> Check {
    if ancestor.same_object(cap) {
        let more = rights(cap) & !rights(ancestor);
        ensure!(more == 0, "{cap:?} has rights that {ancestor:?} has not");
    }
    if let (Some(outer), Some(inner)) = (is_device(ancestor), is_device(cap)) {
        ensure!(
            outer == inner,
            "{cap:?} and {ancestor:?} are not the same kind of memory"
        );
    }
    if let Cap::Untyped { base, free, .. } = ancestor {
        let end = cap.extent().map_or(0, |(_, end)| end);
        ensure!(
            end <= base + (free << 4),
            "{cap:?} lies above the watermark of {ancestor:?}"
        );
    }
    Ok(())
}

fn rights(cap: Cap) -> u64 {
    match cap {
        Cap::Endpoint { rights, .. }
        | Cap::Notification { rights, .. }
        | Cap::Vcpu { rights, .. } => rights.bits(),
        Cap::Reply { grant, .. } => grant.into(),
        Cap::Frame { rights, .. } => rights.into(),
        _ => 0,
    }
}

fn is_device(cap: Cap) -> Option<bool> {
    match cap {
        Cap::Untyped { device, .. } | Cap::Frame { device, .. } => Some(device),
        _ => None,
    }
}

fn badge(cap: Cap) -> u64 {
    match cap {
        Cap::Endpoint { badge, .. } | Cap::Notification { badge, .. } => badge,
        _ => 0,
    }
}

/// Objects overlap only the untyped memory they were made of.
fn memory(found: &Found) -> Check {
    let mut extents: Vec<(u64, core::cmp::Reverse<u64>, Cap)> = found
        .slots
        .iter()
        .filter_map(|&(_, cap)| {
            let (start, end) = cap.extent()?;
            Some((start, core::cmp::Reverse(end), cap))
        })
        .collect();
    extents.sort_unstable_by_key(|&(start, end, _)| (start, end));
    let mut open: Vec<(u64, bool)> = Vec::new();
    for place in extents.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let (start, core::cmp::Reverse(end), first) = place[0];
        while open.last().is_some_and(|&(top, _)| top <= start) {
            open.pop();
        }
        if let Some(&(top, untyped)) = open.last() {
            ensure!(
                end <= top && untyped,
                "{first:?} overlaps an object that is no untyped memory around it"
            );
        }
        let mut objects = place
            .iter()
            .map(|&(_, _, cap)| cap)
            .filter(|cap| !matches!(cap, Cap::Untyped { .. }));
        let object = objects.next();
        for other in objects {
            ensure!(
                object.is_some_and(|object| object.same_object(other)),
                "several objects in one place: {object:?} and {other:?}"
            );
        }
        open.push((end, object.is_none()));
    }
    Ok(())
}

/// Threads, the ready queues, the release queue.
fn threads<M: Machine>(kernel: &Kernel<M>, found: &Found) -> Check {
    let tcbs = &found.tcbs;
    ensure!(
        kernel.action == Action::Keep,
        "the scheduler has something left to do: {:?}",
        kernel.action
    );
    let mut ready = Addresses::default();
    for priority in 0..256 {
        let bit = kernel.queues.bitmap[priority / 64] >> (priority % 64) & 1 != 0;
        let (mut at, mut before) = (kernel.queues.heads[priority].get(), None);
        ensure!(
            bit == at.is_some(),
            "the bitmap is wrong about priority {priority}"
        );
        while let Some(tcb) = at {
            ensure!(
                ready.insert(tcb.bits()),
                "{tcb:?} is in the ready queues twice"
            );
            ensure!(
                tcb.sched_prev.get() == before,
                "{tcb:?}: broken ready queue"
            );
            ensure!(
                usize::from(tcb.priority.get()) == priority,
                "{tcb:?} is in another priority's queue"
            );
            ensure!(
                kernel.is_schedulable(tcb),
                "{tcb:?} is ready-queued in state {:?}",
                tcb.state.get()
            );
            ensure!(
                tcb.in_ready_queue.get() && !tcb.in_release_queue.get(),
                "{tcb:?}: wrong queue marks"
            );
            before = at;
            at = tcb.sched_next.get();
        }
        ensure!(
            kernel.queues.tails[priority].get() == before,
            "priority {priority}: wrong tail"
        );
    }
    let mut waiting = Addresses::default();
    let (mut at, mut before, mut time) = (kernel.queues.release.get(), None, 0);
    while let Some(tcb) = at {
        ensure!(
            waiting.insert(tcb.bits()),
            "{tcb:?} is in the release queue twice"
        );
        ensure!(
            tcb.sched_prev.get() == before,
            "{tcb:?}: broken release queue"
        );
        ensure!(
            tcb.in_release_queue.get() && !tcb.in_ready_queue.get(),
            "{tcb:?}: wrong queue marks"
        );
        ensure!(
            tcb.is_runnable(),
            "{tcb:?} waits for a refill in state {:?}",
            tcb.state.get()
        );
        let Some(sc) = tcb.sc.get().filter(|sc| sc.is_active()) else {
            return Err(format!("{tcb:?} waits for a refill of no context"));
        };
        let due = sc.head_refill().time.get();
        ensure!(due >= time, "the release queue is not sorted");
        ensure!(due > kernel.now, "{tcb:?} waits though its refill is due");
        time = due;
        before = at;
        at = tcb.sched_next.get();
    }
    for &tcb in ready.iter().chain(&waiting) {
        ensure!(
            is_among(tcbs, Ref::at(tcb)),
            "a deleted thread ({tcb:#x}) is queued"
        );
    }
    for &tcb in tcbs {
        let bits = tcb.bits();
        ensure!(
            tcb.in_ready_queue.get() == ready.contains(&bits),
            "{tcb:?}: ready mark without place"
        );
        ensure!(
            tcb.in_release_queue.get() == waiting.contains(&bits),
            "{tcb:?}: release mark without place"
        );
        let runs = kernel.is_schedulable(tcb);
        ensure!(
            runs == (ready.contains(&bits) || (tcb == kernel.current && tcb != kernel.idle)),
            "{tcb:?} is lost: {:?}",
            tcb.state.get()
        );
        let replies = matches!(
            tcb.state.get(),
            State::BlockedOnReply | State::BlockedOnReceive
        );
        ensure!(
            replies || tcb.reply.get().is_none(),
            "{tcb:?} has a reply in state {:?}",
            tcb.state.get()
        );
        if let Some(reply) = tcb.reply.get() {
            ensure!(
                reply.tcb.is(tcb),
                "{tcb:?}: its reply belongs to another thread"
            );
        }
        let called = tcb.state.get() == State::BlockedOnReply;
        ensure!(
            !called || tcb.reply.get().is_some(),
            "{tcb:?} awaits a reply without object"
        );
        if let Some(sc) = tcb.sc.get() {
            ensure!(
                sc.tcb.is(tcb),
                "{tcb:?}: its context belongs to another thread"
            );
        }
        if let Some(notification) = tcb.notification.get() {
            ensure!(
                notification.tcb.is(tcb),
                "{tcb:?}: its notification belongs to another thread"
            );
        }
        if let Some(sc) = tcb.yield_to.get() {
            ensure!(sc.yield_from.is(tcb), "{tcb:?}: broken yield");
        }
        if let Some(vcpu) = tcb.vcpu.get() {
            ensure!(
                vcpu.tcb.is(tcb),
                "{tcb:?}: its vCPU belongs to another thread"
            );
        }
    }
    ensure!(
        !ready.contains(&kernel.current.bits()),
        "the running thread is ready-queued"
    );
    ensure!(
        kernel.current.sc.is(kernel.current_sc),
        "the current context is not the running thread's"
    );
    let top = (0..256).rfind(|&priority| kernel.queues.heads[priority].get().is_some());
    ensure!(
        usize::from(kernel.queues.ready_end) == top.map_or(0, |top| top + 1),
        "the highest ready priority is not {top:?}"
    );
    if let Some(top) = top {
        let running = usize::from(kernel.current.priority.get());
        ensure!(
            kernel.current != kernel.idle,
            "idle though threads are ready"
        );
        ensure!(
            running >= top,
            "priority {running} runs though {top} is ready"
        );
    }
    Ok(())
}

/// Queues of endpoints and notifications, against the threads' states.
fn endpoints(found: &Found) -> Check {
    let mut queued = Addresses::default();
    let mut walk =
        |head: Option<Ref<Tcb>>, tail: Option<Ref<Tcb>>, object: u64, allowed: &[State]| -> Check {
            let (mut at, mut before) = (head, None::<Ref<Tcb>>);
            while let Some(tcb) = at {
                let state = tcb.state.get();
                ensure!(
                    allowed.contains(&state),
                    "{tcb:?} is queued in state {state:?}"
                );
                ensure!(
                    tcb.blocked_on.get() == object,
                    "{tcb:?} is in a queue it does not wait in"
                );
                ensure!(queued.insert(tcb.bits()), "{tcb:?} is queued twice");
                ensure!(tcb.queue_prev.get() == before, "{tcb:?}: broken queue");
                if let Some(before) = before {
                    ensure!(
                        before.state.get() == state,
                        "senders and receivers in one queue"
                    );
                    ensure!(
                        before.priority.get() >= tcb.priority.get(),
                        "a queue is not in order of priority"
                    );
                }
                before = at;
                at = tcb.queue_next.get();
            }
            ensure!(tail == before, "{object:#x}: wrong tail");
            Ok(())
        };
    for endpoint in &found.endpoints {
        let states = [State::BlockedOnSend, State::BlockedOnReceive];
        walk(
            endpoint.head.get(),
            endpoint.tail.get(),
            endpoint.bits(),
            &states,
        )?;
    }
    for &notification in &found.notifications {
        let states = [State::BlockedOnNotification];
        walk(
            notification.head.get(),
            notification.tail.get(),
            notification.bits(),
            &states,
        )?;
        ensure!(
            !(notification.is_active() && notification.has_waiters()),
            "a signalled notification has waiters"
        );
        if let Some(tcb) = notification.tcb.get() {
            ensure!(
                tcb.notification.is(notification),
                "{notification:?}: its thread is bound elsewhere"
            );
        }
        if let Some(sc) = notification.sc.get() {
            ensure!(
                sc.notification.is(notification),
                "{notification:?}: its context is bound elsewhere"
            );
        }
    }
    for tcb in &found.tcbs {
        let state = tcb.state.get();
        let waits = matches!(
            state,
            State::BlockedOnSend | State::BlockedOnReceive | State::BlockedOnNotification
        );
        let place = queued.remove(&tcb.bits());
        ensure!(
            waits == place,
            "{tcb:?} is in state {state:?}, and queued: {place}"
        );
    }
    ensure!(queued.is_empty(), "a deleted thread is queued");
    Ok(())
}

/// Scheduling contexts, their refills, and the call stacks that lend them.
fn contexts<M: Machine>(kernel: &Kernel<M>, found: &Found) -> Check {
    let known = |tcb: Ref<Tcb>| is_among(&found.tcbs, tcb);
    let live = |reply: Ref<Reply>| is_among(&found.replies, reply);
    let mut stacked = Addresses::default();
    for &sc in &found.contexts {
        refills(kernel, sc)?;
        if let Some(tcb) = sc.tcb.get() {
            ensure!(
                known(tcb) && tcb.sc.is(sc),
                "{sc:?}: its thread has another context"
            );
        }
        if let Some(notification) = sc.notification.get() {
            ensure!(
                notification.sc.is(sc),
                "{sc:?}: its notification has another context"
            );
        }
        if let Some(tcb) = sc.yield_from.get() {
            ensure!(known(tcb) && tcb.yield_to.is(sc), "{sc:?}: broken yield");
        }
        if let Some(top) = sc.reply.get() {
            ensure!(
                top.context() == Some(sc),
                "{sc:?}: the top of its stack does not know it"
            );
        }
    }
    for &reply in &found.replies {
        if let Some(sc) = reply.context() {
            ensure!(
                sc.reply.is(reply),
                "{reply:?} is on top of a stack that has another top"
            );
        }
        if let Some(above) = reply.above() {
            ensure!(
                live(above) && above.prev.is(reply),
                "{reply:?}: the reply above does not know it"
            );
        }
        if let Some(below) = reply.prev.get() {
            ensure!(live(below), "{reply:?}: the reply below is deleted");
            ensure!(
                below.above() == Some(reply),
                "{reply:?}: the reply below does not know it"
            );
            ensure!(stacked.insert(below.bits()), "two replies above {below:?}");
        }
        let on_stack =
            reply.context().is_some() || reply.above().is_some() || reply.prev.get().is_some();
        match reply.tcb.get() {
            Some(tcb) => {
                ensure!(known(tcb), "{reply:?} has a deleted thread");
                ensure!(
                    tcb.reply.is(reply),
                    "{reply:?}: its thread has another reply"
                );
                let called = tcb.state.get() == State::BlockedOnReply;
                ensure!(
                    !on_stack || called,
                    "{reply:?} is on a stack without caller"
                );
            }
            None => ensure!(!on_stack, "{reply:?} is on a stack without thread"),
        }
    }
    Ok(())
}

fn refills<M: Machine>(kernel: &Kernel<M>, sc: Ref<SchedContext>) -> Check {
    if !sc.is_active() {
        return Ok(());
    }
    let (count, max) = (sc.count.get(), sc.max.get());
    ensure!(
        count >= 1 && count <= max,
        "{sc:?}: {count} refills of {max}"
    );
    ensure!(
        sc.total() >= kernel.min_budget(),
        "{sc:?}: a budget of {}",
        sc.total()
    );
    if sc.is_round_robin() {
        ensure!(count == 2, "{sc:?}: round robin with {count} refills");
        return Ok(());
    }
    for n in 1..count {
        let (before, refill) = (sc.refill(n - 1), sc.refill(n));
        let end = before.time.get() + before.amount.get();
        ensure!(end <= refill.time.get(), "{sc:?}: refills overlap");
    }
    Ok(())
}

/// The live address spaces: each entry is a table or a frame that a capability says is mapped just there. Answers the
/// entries of the ASID pools.
fn spaces<M: Machine>(kernel: &Kernel<M>, found: &Found) -> Result<Addresses, String> {
    let mut roots = Addresses::default();
    for (number, pool) in kernel.asid_pools.iter().enumerate() {
        let Some(pool) = pool.get() else { continue };
        ensure!(
            is_among(&found.asid_pools, pool),
            "ASID pool {number} has no capability"
        );
        for (index, entry) in present(&pool.0, u64::MAX) {
            let (root, guest) = (entry & !1, entry & 1 != 0);
            roots.insert(entry);
            ensure!(
                found.tables.contains(&(root, 4)),
                "ASID {index}: its root is no live table"
            );
            let asid = (number * 512 + index) as u16;
            let mut at = guest
                .then(|| crate::object::guest_space::first_vcpu(Ref::at(root)))
                .flatten();
            let mut seen = 0;
            while let Some(vcpu) = at {
                seen += 1;
                ensure!(
                    is_among(&found.vcpus, vcpu) && seen <= found.vcpus.len(),
                    "ASID {asid} lists a vCPU that is deleted or twice there"
                );
                at = vcpu.space_next.get();
            }
            each_entry(Ref::at(root), 4, 0, &mut |value, level, address| {
                if level > 1 && value & pte::PS == 0 {
                    let table = (value & pte::ADDRESS, level - 1);
                    ensure!(
                        found.tables.contains(&table),
                        "ASID {asid} at {address:#x}: a table that no capability names"
                    );
                    return Ok(());
                }
                let size = level - 1;
                let bits = crate::cap::frame_bits(size);
                let base = value & pte::ADDRESS & !((1 << bits) - 1);
                let named = found.frames.contains(&(base, size, asid, address, guest));
                ensure!(
                    named,
                    "ASID {asid} at {address:#x}: frame {base:#x} outlives its capability's mapping"
                );
                Ok(())
            })?;
        }
    }
    Ok(roots)
}

/// The words that have a bit of `mask`, with their places; whole lines of others are passed over.
fn present(words: &[Cell<u64>], mask: u64) -> impl Iterator<Item = (usize, u64)> {
    let lines = words.chunks(8).enumerate();
    let used = lines
        .filter(move |(_, line)| line.iter().fold(0, |all, word| all | word.get()) & mask != 0);
    used.flat_map(move |(n, line)| {
        let words = line.iter().enumerate();
        words.map(move |(at, word)| (8 * n + at, word.get()))
    })
    .filter(move |(_, word)| word & mask != 0)
}

/// Visits every present entry below `table`'s lower half.
fn each_entry(
    table: Ref<Page>,
    level: u8,
    base: u64,
    visit: &mut impl FnMut(u64, u8, u64) -> Check,
) -> Check {
    let count = if level == 4 { 256 } else { 512 };
    for (n, value) in present(&table.0[..count], pte::P) {
        let address = base | (n as u64) << (12 + 9 * (u64::from(level) - 1));
        visit(value, level, address)?;
        if level > 1 && value & pte::PS == 0 {
            each_entry(Ref::at(value & pte::ADDRESS), level - 1, address, visit)?;
        }
    }
    Ok(())
}

/// Shadow pools (I1, I2): links counted and one level down, leaves within the space, roots live.
fn pools(found: &Found, roots: &Addresses) -> Check {
    let (vcpus, all) = (&found.vcpus, &found.pools);
    for &vcpu in vcpus {
        if let Some(tcb) = vcpu.tcb.get() {
            ensure!(tcb.vcpu.is(vcpu), "{vcpu:?}: its thread has another vCPU");
        }
        nested(vcpu)?;
        match vcpu.pool.get() {
            Some(pool) => ensure!(all.contains(&pool), "{vcpu:?} has a deleted pool"),
            None => ensure!(
                vcpu.root.get().is_none(),
                "{vcpu:?} has a root without pool"
            ),
        }
    }
    for &pool in all {
        let mut members = Vec::new();
        let mut at = pool.vcpus.get();
        while let Some(vcpu) = at {
            ensure!(
                vcpus.contains(&vcpu) && vcpu.pool.is(pool),
                "{pool:?} lists a vCPU that is not its own"
            );
            ensure!(
                members.len() <= vcpus.len(),
                "{pool:?}: the vCPUs are a circle"
            );
            members.push(vcpu);
            at = vcpu.pool_next.get();
        }
        let bound = vcpus.iter().filter(|vcpu| vcpu.pool.is(pool)).count();
        ensure!(
            bound == members.len(),
            "{pool:?} does not list all of its vCPUs"
        );
        let granted = match pool.space.get() {
            Some(root) => {
                let live = roots.contains(&(root.bits() | 1));
                ensure!(live, "{pool:?} is bound to a space without number");
                let mut at = crate::object::guest_space::first_pool(root);
                while let Some(other) = at
                    && other != pool
                {
                    ensure!(
                        all.contains(&other),
                        "{pool:?}: its space lists a deleted pool"
                    );
                    at = other.next.get();
                }
                ensure!(at == Some(pool), "{pool:?}: its space does not list it");
                granted(root)?
            }
            None => Vec::new(),
        };
        pool_pages(pool, &members, &granted)?;
    }
    Ok(())
}

/// A vCPU under nested paging has no pool, and its space lists it.
fn nested(vcpu: Ref<Vcpu>) -> Check {
    if !vcpu.nested.get() {
        ensure!(
            vcpu.space.get().is_none(),
            "{vcpu:?} has a space without use"
        );
        return Ok(());
    }
    ensure!(vcpu.pool.get().is_none(), "{vcpu:?} has a space and a pool");
    let Some(root) = vcpu.space.get() else {
        return Ok(());
    };
    let mut at = crate::object::guest_space::first_vcpu(root);
    while let Some(other) = at
        && other != vcpu
    {
        ensure!(
            other.nested.get() && other.space.is(root),
            "{vcpu:?}: its space lists a vCPU that is not its own"
        );
        at = other.space_next.get();
    }
    ensure!(at.is_some(), "{vcpu:?}: its space does not list it");
    Ok(())
}

/// Frames of a guest-physical space: base, end, writable.
pub fn granted(root: Ref<Page>) -> Result<Vec<(u64, u64, bool)>, String> {
    let mut all = Vec::new();
    each_entry(root, 4, 0, &mut |value, level, _| {
        if (level == 1 || value & pte::PS != 0) && value & pte::US != 0 {
            let bytes = 1 << crate::cap::frame_bits(level - 1);
            let base = value & pte::ADDRESS & !(bytes - 1);
            all.push((base, base + bytes, value & pte::RW != 0));
        }
        Ok(())
    })?;
    Ok(all)
}

fn pool_pages(pool: Ref<ShadowPool>, members: &[Ref<Vcpu>], granted: &[(u64, u64, bool)]) -> Check {
    let mut links: HashMap<u64, u32, Spread> = HashMap::default();
    let live = |index: u64| pool.state(index).epoch.get() == pool.epoch.get();
    for index in (0..pool.usable()).filter(|&index| live(index)) {
        let level = pool.state(index).level.get();
        for (n, value) in present(&pool.page(index).0, u64::MAX) {
            ensure!(
                value & pte::P != 0,
                "page {index} slot {n}: something in an entry that is not present"
            );
            let is_root = u64::from(level) == LEVEL_PAE_ROOT;
            ensure!(!is_root || n < 4, "a PAE root with more than four entries");
            ensure!(!is_root || value & 0x1e6 == 0, "a PDPTE with rights bits");
            if is_root || (level > 1 && value & pte::PS == 0) {
                let child = value & pte::ADDRESS;
                ensure!(
                    child >= pool.page(0).bits(),
                    "page {index} slot {n} links outside the pool"
                );
                let child = pool.index_of(child);
                ensure!(
                    child < pool.usable() && live(child),
                    "page {index} slot {n} links no live page"
                );
                let down = if is_root { 2 } else { level - 1 };
                ensure!(
                    pool.state(child).level.get() == down,
                    "page {index} slot {n} skips a level"
                );
                *links.entry(child).or_default() += 1;
                continue;
            }
            ensure!(
                (1..=3).contains(&level),
                "page {index} of level {level} has a leaf"
            );
            let bytes = 1u64 << crate::cap::frame_bits(level - 1);
            let base = value & pte::ADDRESS & !(bytes - 1);
            let write = value & pte::RW != 0;
            let fits = |&(start, end, writable): &(u64, u64, bool)| {
                start <= base && base + bytes <= end && (writable || !write)
            };
            ensure!(
                granted.iter().any(fits),
                "page {index} slot {n}: leaf {value:#x} is not granted by the space"
            );
            ensure!(
                value & (pte::PWT | pte::PCD | pte::G) == 0,
                "page {index} slot {n}: odd bits in {value:#x}"
            );
        }
    }
    for index in (0..pool.usable()).filter(|&index| live(index)) {
        let (state, counted) = (pool.state(index), links.get(&index).copied().unwrap_or(0));
        ensure!(
            state.links.get() == counted,
            "page {index}: {} links, {counted} counted",
            state.links.get()
        );
        let roots = members
            .iter()
            .filter(|vcpu| vcpu.root.get() == Some(index))
            .count();
        ensure!(
            usize::from(state.roots.get()) == roots,
            "page {index}: {} roots, {roots} counted",
            state.roots.get()
        );
    }
    for vcpu in members {
        if let Some(root) = vcpu.root.get() {
            ensure!(
                root < pool.usable() && live(root),
                "{vcpu:?}: its root {root} is stale"
            );
        }
    }
    Ok(())
}
