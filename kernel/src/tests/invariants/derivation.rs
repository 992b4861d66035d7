//! The derivation lists: neighbours know each other, and nobody allows more than what it is derived from.

use super::addresses::Spread;
use super::complaint::{Check, complain, ensure};
use super::found::Found;
use crate::cap::Cap;
use crate::mem::Ref;
use crate::slot::{self, Slot};
use std::collections::HashMap;

pub fn check(found: &Found) -> Check {
    linked(found)?;
    let mut counted = 0;
    for &(head, _) in found.slots.iter().filter(|(slot, _)| slot.prev().is_none()) {
        counted += derivation_list(head)?;
    }
    let all = found.slots.len();
    ensure!(counted == all, InNoList, "{counted} of {all} are");
    Ok(())
}

/// Neighbours in the derivation lists know each other; empty slots are in none.
fn linked(found: &Found) -> Check {
    for slot in &found.empty {
        let alone = slot.next().is_none() && slot.prev().is_none();
        ensure!(alone, EmptySlotLinked, "{slot:?}");
    }
    for &(slot, cap) in &found.slots {
        if let Some(next) = slot.next() {
            ensure!(!next.is_empty(), NextEmpty, "{slot:?} {cap:?}");
            let known = next.prev() == Some(slot);
            ensure!(known, NextPointsElsewhere, "{slot:?} {cap:?}");
        }
        if let Some(prev) = slot.prev() {
            let known = prev.next() == Some(slot);
            ensure!(known, PreviousPointsElsewhere, "{slot:?} {cap:?}");
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
        if ancestor.cap.words().badge() != 0 {
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
fn derivation_list(head: Ref<Slot>) -> Check<usize> {
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
            complain!(DescendantsApart, "{cap:?} of {parent:?}");
        }
        for ancestor in &open {
            derived(ancestor.cap, cap)?;
        }
        if let Cap::Untyped { bits, free, .. } = cap {
            ensure!(free << 4 <= 1 << bits, WatermarkOutside, "{cap:?}");
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
        ensure!(more == 0, RightsGrew, "{cap:?} of {ancestor:?}");
    }
    if let (Some(outer), Some(inner)) = (is_device(ancestor), is_device(cap)) {
        ensure!(
            outer == inner,
            KindOfMemoryChanged,
            "{cap:?} of {ancestor:?}"
        );
    }
    if let Cap::Untyped { base, free, .. } = ancestor {
        let end = cap.extent().map_or(0, |(_, end)| end);
        let below = end <= base + (free << 4);
        ensure!(below, AboveWatermark, "{cap:?} of {ancestor:?}");
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
