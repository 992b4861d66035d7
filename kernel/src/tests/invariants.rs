//! The kernel's invariants as one function over everything a system's capabilities reach.

use crate::cap::{Cap, Mapping, SpaceKind, ZombieKind};
use crate::cspace::slot_at;
use crate::kernel::{Action, Kernel};
use crate::machine::Machine;
use crate::mem::{Page, Ref};
use crate::object::tcb::{State, slots};
use crate::object::{Endpoint, Notification, Reply, SchedContext, ShadowPool, Tcb, Vcpu};
use crate::slot::{self, Slot};
use sel4_abi::label::LEVEL_PAE_ROOT;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use words::x86::pte;

type Check = Result<(), String>;
/// A derivation list, from its head on.
type List = Vec<(Ref<Slot>, Cap)>;

macro_rules! ensure {
    ($condition:expr, $($text:tt)*) => {
        if !$condition {
            return Err(format!($($text)*));
        }
    };
}

/// Everything found: slots that hold something, in no order.
struct Found {
    slots: Vec<(Ref<Slot>, Cap)>,
    empty: Vec<Ref<Slot>>,
}

impl Found {
    fn collect<M: Machine>(kernel: &Kernel<M>, root: Ref<Slot>, limit: u64) -> Self {
        let mut work: Vec<u64> = (0..limit).map(|n| root.bits() + 32 * n).collect();
        work.extend((0..crate::kernel::IRQS as u64).map(|n| kernel.irq_slots + 32 * n));
        for tcb in [kernel.current, kernel.idle] {
            work.extend((0..slots::COUNT).map(|n| tcb.slot(n).bits()));
        }
        let mut seen: HashSet<u64> = HashSet::new();
        let mut containers = HashSet::new();
        containers.insert(root.bits());
        let mut found = Self {
            slots: Vec::new(),
            empty: Vec::new(),
        };
        while let Some(at) = work.pop() {
            if !seen.insert(at) {
                continue;
            }
            let slot: Ref<Slot> = Ref::at(at);
            let cap = slot.cap();
            if slot.is_empty() {
                found.empty.push(slot);
                continue;
            }
            found.slots.push((slot, cap));
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
        found
    }
    fn objects<T>(&self, select: impl Fn(Cap) -> Option<Ref<T>>) -> Vec<Ref<T>> {
        let all: BTreeMap<u64, Ref<T>> = self
            .slots
            .iter()
            .filter_map(|&(_, cap)| select(cap))
            .map(|object| (object.bits(), object))
            .collect();
        all.into_values().collect()
    }
}

/// Checks every invariant; `Err` says in words which does not hold. `root` is slot 0 of the first CNode, of which the
/// first `limit` slots are looked at.
pub fn check_invariants<M: Machine>(kernel: &Kernel<M>, root: Ref<Slot>, limit: u64) -> Check {
    let found = Found::collect(kernel, root, limit);
    let lists = derivation_lists(&found)?;
    memory(&lists)?;
    let mut tcbs = found.objects(|cap| match cap {
        Cap::Tcb { object } => Some(object),
        Cap::Zombie {
            object,
            kind: ZombieKind::Tcb,
            ..
        } => Some(Ref::at(object)),
        _ => None,
    });
    tcbs.push(kernel.idle);
    threads(kernel, &tcbs)?;
    endpoints(&found, &tcbs)?;
    contexts(kernel, &found, &tcbs)?;
    spaces(kernel, &found)?;
    pools(kernel, &found)
}

/// The derivation lists are well linked, and each capability's descendants follow it without a gap.
fn derivation_lists(found: &Found) -> Result<Vec<List>, String> {
    for slot in &found.empty {
        ensure!(
            slot.next().is_none() && slot.prev().is_none(),
            "empty slot {slot:?} is linked"
        );
    }
    let mut lists = Vec::new();
    let mut counted = 0;
    for &(slot, cap) in &found.slots {
        if let Some(next) = slot.next() {
            ensure!(
                next.prev() == Some(slot),
                "{slot:?} {cap:?}: the next slot does not point back"
            );
            ensure!(!next.is_empty(), "{slot:?}: the next slot is empty");
        }
        if let Some(prev) = slot.prev() {
            ensure!(
                prev.next() == Some(slot),
                "{slot:?} {cap:?}: the previous slot does not point here"
            );
            continue;
        }
        let mut list = vec![(slot, cap)];
        let mut at = slot;
        while let Some(next) = at.next() {
            list.push((next, next.cap()));
            ensure!(
                list.len() <= found.slots.len(),
                "a derivation list is a circle"
            );
            at = next;
        }
        counted += list.len();
        lists.push(list);
    }
    ensure!(
        counted == found.slots.len(),
        "{} of {} slots are in lists",
        counted,
        found.slots.len()
    );
    for list in &lists {
        depth_first(list)?;
        monotone(list)?;
    }
    Ok(lists)
}

/// No capability allows what the one it is derived from does not.
fn monotone(list: &[(Ref<Slot>, Cap)]) -> Check {
    for (n, &(parent, cap)) in list.iter().enumerate() {
        let below = list[n + 1..]
            .iter()
            .take_while(|&&(child, _)| slot::is_parent(parent, child));
        for &(_, derived) in below {
            if cap.same_object(derived) {
                let more = rights(derived) & !rights(cap);
                ensure!(more == 0, "{derived:?} has rights that {cap:?} has not");
            }
            if let (Some(outer), Some(inner)) = (is_device(cap), is_device(derived)) {
                ensure!(
                    outer == inner,
                    "{derived:?} and {cap:?} are not the same kind of memory"
                );
            }
        }
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

fn depth_first(list: &[(Ref<Slot>, Cap)]) -> Check {
    for (n, &(parent, cap)) in list.iter().enumerate() {
        // Badges tell siblings of the same badge apart only by a mark on the first.
        if badge(cap) != 0 {
            continue;
        }
        let mut gap = false;
        for &(child, derived) in &list[n + 1..] {
            let below = slot::is_parent(parent, child);
            ensure!(
                !(gap && below),
                "{derived:?} is derived from {cap:?} but does not follow its other descendants"
            );
            gap |= !below;
        }
    }
    Ok(())
}

/// Objects overlap only the untyped memory they were made of, and lie below its watermark.
fn memory(lists: &[List]) -> Check {
    let mut extents: BTreeMap<(u64, core::cmp::Reverse<u64>), Vec<Cap>> = BTreeMap::new();
    for &(_, cap) in lists.iter().flatten() {
        if let Some((start, end)) = cap.extent() {
            extents
                .entry((start, core::cmp::Reverse(end)))
                .or_default()
                .push(cap);
        }
    }
    let mut open: Vec<(u64, bool)> = Vec::new();
    for (&(start, core::cmp::Reverse(end)), caps) in &extents {
        while open.last().is_some_and(|&(top, _)| top <= start) {
            open.pop();
        }
        if let Some(&(top, untyped)) = open.last() {
            ensure!(
                end <= top && untyped,
                "{:?} overlaps an object that is no untyped memory around it",
                caps[0]
            );
        }
        let objects: Vec<Cap> = caps
            .iter()
            .copied()
            .filter(|cap| !matches!(cap, Cap::Untyped { .. }))
            .collect();
        let one = objects.windows(2).all(|pair| pair[0].same_object(pair[1]));
        ensure!(one, "several objects in one place: {objects:?}");
        open.push((end, objects.is_empty()));
    }
    for list in lists {
        for (n, &(parent, cap)) in list.iter().enumerate() {
            let Cap::Untyped {
                base, bits, free, ..
            } = cap
            else {
                continue;
            };
            let watermark = base + (free << 4);
            ensure!(
                watermark <= base + (1 << bits),
                "{cap:?}: the watermark is outside"
            );
            for &(child, derived) in &list[n + 1..] {
                if !slot::is_parent(parent, child) {
                    break;
                }
                let end = derived.extent().map_or(0, |(_, end)| end);
                ensure!(
                    end <= watermark,
                    "{derived:?} lies above the watermark of {cap:?}"
                );
            }
        }
    }
    Ok(())
}

/// Threads, the ready queues, the release queue.
fn threads<M: Machine>(kernel: &Kernel<M>, tcbs: &[Ref<Tcb>]) -> Check {
    ensure!(
        kernel.action == Action::Keep,
        "the scheduler has something left to do: {:?}",
        kernel.action
    );
    let mut ready = HashSet::new();
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
    let mut waiting = HashSet::new();
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
    let known: HashSet<u64> = tcbs.iter().map(|tcb| tcb.bits()).collect();
    for tcb in ready.iter().chain(&waiting) {
        ensure!(known.contains(tcb), "a deleted thread ({tcb:#x}) is queued");
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
fn endpoints(found: &Found, tcbs: &[Ref<Tcb>]) -> Check {
    let mut queued: HashMap<u64, (State, u64)> = HashMap::new();
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
                ensure!(
                    queued.insert(tcb.bits(), (state, object)).is_none(),
                    "{tcb:?} is queued twice"
                );
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
    let all: Vec<Ref<Endpoint>> = found.objects(|cap| match cap {
        Cap::Endpoint { object, .. } => Some(object),
        Cap::Zombie {
            object,
            kind: ZombieKind::Endpoint,
            ..
        } => Some(Ref::at(object)),
        _ => None,
    });
    for endpoint in all {
        let states = [State::BlockedOnSend, State::BlockedOnReceive];
        walk(
            endpoint.head.get(),
            endpoint.tail.get(),
            endpoint.bits(),
            &states,
        )?;
    }
    let all: Vec<Ref<Notification>> = found.objects(|cap| match cap {
        Cap::Notification { object, .. } => Some(object),
        Cap::Zombie {
            object,
            kind: ZombieKind::Notification,
            ..
        } => Some(Ref::at(object)),
        _ => None,
    });
    for notification in all {
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
    for tcb in tcbs {
        let state = tcb.state.get();
        let waits = matches!(
            state,
            State::BlockedOnSend | State::BlockedOnReceive | State::BlockedOnNotification
        );
        let place = queued.remove(&tcb.bits());
        ensure!(
            waits == place.is_some(),
            "{tcb:?} is in state {state:?}, and queued: {}",
            place.is_some()
        );
    }
    ensure!(queued.is_empty(), "a deleted thread is queued");
    Ok(())
}

/// Scheduling contexts, their refills, and the call stacks that lend them.
fn contexts<M: Machine>(kernel: &Kernel<M>, found: &Found, tcbs: &[Ref<Tcb>]) -> Check {
    let known: HashSet<u64> = tcbs.iter().map(|tcb| tcb.bits()).collect();
    let all: Vec<Ref<SchedContext>> = found.objects(|cap| match cap {
        Cap::SchedContext { object, .. } => Some(object),
        _ => None,
    });
    let replies: Vec<Ref<Reply>> = found.objects(|cap| match cap {
        Cap::Reply { object, .. } => Some(object),
        _ => None,
    });
    let live: HashSet<u64> = replies.iter().map(|reply| reply.bits()).collect();
    let mut stacked = HashSet::new();
    for sc in all {
        refills(kernel, sc)?;
        if let Some(tcb) = sc.tcb.get() {
            ensure!(
                known.contains(&tcb.bits()) && tcb.sc.is(sc),
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
            ensure!(
                known.contains(&tcb.bits()) && tcb.yield_to.is(sc),
                "{sc:?}: broken yield"
            );
        }
        if let Some(top) = sc.reply.get() {
            ensure!(
                top.context() == Some(sc),
                "{sc:?}: the top of its stack does not know it"
            );
        }
    }
    for &reply in &replies {
        if let Some(sc) = reply.context() {
            ensure!(
                sc.reply.is(reply),
                "{reply:?} is on top of a stack that has another top"
            );
        }
        if let Some(above) = reply.above() {
            ensure!(
                live.contains(&above.bits()) && above.prev.is(reply),
                "{reply:?}: the reply above does not know it"
            );
        }
        if let Some(below) = reply.prev.get() {
            ensure!(
                live.contains(&below.bits()),
                "{reply:?}: the reply below is deleted"
            );
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
                ensure!(
                    known.contains(&tcb.bits()),
                    "{reply:?} has a deleted thread"
                );
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

/// The live address spaces: each entry is a table or a frame that a capability says is mapped just there.
fn spaces<M: Machine>(kernel: &Kernel<M>, found: &Found) -> Check {
    let mut frames: BTreeSet<(u64, u8, u16, u64, bool)> = BTreeSet::new();
    let mut tables: BTreeSet<(u64, u8)> = BTreeSet::new();
    for &(_, cap) in &found.slots {
        match cap {
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
                frames.insert((base, size, asid, address, kind == SpaceKind::Guest));
            }
            Cap::Table { object, level, .. } => {
                tables.insert((object.bits(), level));
            }
            _ => {}
        }
    }
    let vcpus: Vec<Ref<Vcpu>> = found.objects(|cap| match cap {
        Cap::Vcpu { object, .. } => Some(object),
        _ => None,
    });
    for (number, pool) in kernel.asid_pools.iter().enumerate() {
        let Some(pool) = pool.get() else { continue };
        let known = found.slots.iter().any(|(_, cap)| match *cap {
            Cap::AsidPool { object, .. } => object == pool,
            Cap::Zombie {
                object,
                kind: ZombieKind::AsidPool { .. },
                ..
            } => object == pool.bits(),
            _ => false,
        });
        ensure!(known, "ASID pool {number} has no capability");
        for (index, entry) in pool.0.iter().enumerate() {
            let (root, guest) = (entry.get() & !1, entry.get() & 1 != 0);
            if root == 0 {
                continue;
            }
            ensure!(
                tables.contains(&(root, 4)),
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
                    vcpus.contains(&vcpu) && seen <= vcpus.len(),
                    "ASID {asid} lists a vCPU that is deleted or twice there"
                );
                at = vcpu.space_next.get();
            }
            each_entry(Ref::at(root), 4, 0, &mut |value, level, address| {
                if level > 1 && value & pte::PS == 0 {
                    let table = (value & pte::ADDRESS, level - 1);
                    ensure!(
                        tables.contains(&table),
                        "ASID {asid} at {address:#x}: a table that no capability names"
                    );
                    return Ok(());
                }
                let size = level - 1;
                let bits = crate::cap::frame_bits(size);
                let base = value & pte::ADDRESS & !((1 << bits) - 1);
                let named = frames.contains(&(base, size, asid, address, guest));
                ensure!(
                    named,
                    "ASID {asid} at {address:#x}: frame {base:#x} outlives its capability's mapping"
                );
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// Visits every present entry below `table`'s lower half.
fn each_entry(
    table: Ref<Page>,
    level: u8,
    base: u64,
    visit: &mut impl FnMut(u64, u8, u64) -> Check,
) -> Check {
    let count = if level == 4 { 256 } else { 512 };
    for (n, entry) in table.0.iter().enumerate().take(count) {
        let value = entry.get();
        if value & pte::P == 0 {
            continue;
        }
        let address = base | (n as u64) << (12 + 9 * (u64::from(level) - 1));
        visit(value, level, address)?;
        if level > 1 && value & pte::PS == 0 {
            each_entry(Ref::at(value & pte::ADDRESS), level - 1, address, visit)?;
        }
    }
    Ok(())
}

/// Shadow pools (I1, I2): links counted and one level down, leaves within the space, roots live.
fn pools<M: Machine>(kernel: &Kernel<M>, found: &Found) -> Check {
    let vcpus: Vec<Ref<Vcpu>> = found.objects(|cap| match cap {
        Cap::Vcpu { object, .. } => Some(object),
        _ => None,
    });
    let all: Vec<Ref<ShadowPool>> = found.objects(|cap| match cap {
        Cap::ShadowPool { object, .. } => Some(object),
        _ => None,
    });
    for &vcpu in &vcpus {
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
    for &pool in &all {
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
                let live = kernel
                    .asid_pools
                    .iter()
                    .filter_map(|pool| pool.get())
                    .any(|pool| pool.0.iter().any(|entry| entry.get() == root.bits() | 1));
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
    let mut links: HashMap<u64, u32> = HashMap::new();
    let live = |index: u64| pool.state(index).epoch.get() == pool.epoch.get();
    for index in (0..pool.usable()).filter(|&index| live(index)) {
        let level = pool.state(index).level.get();
        for (n, entry) in pool.page(index).0.iter().enumerate() {
            let value = entry.get();
            if value & pte::P == 0 {
                ensure!(
                    value == 0,
                    "page {index} slot {n}: something in an entry that is not present"
                );
                continue;
            }
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
