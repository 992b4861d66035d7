//! Memory: objects overlap only the untyped memory they were made of.

use super::complaint::{Check, ensure};
use super::found::Found;
use crate::cap::Cap;
use core::cmp::Reverse;

pub fn check(found: &Found) -> Check {
    let mut extents: Vec<(u64, Reverse<u64>, Cap)> = found
        .slots
        .iter()
        .filter_map(|&(_, cap)| {
            let (start, end) = cap.extent()?;
            Some((start, Reverse(end), cap))
        })
        .collect();
    extents.sort_unstable_by_key(|&(start, end, _)| (start, end));
    // What the place looked at lies in: ends, and whether it is untyped memory.
    let mut open: Vec<(u64, bool)> = Vec::new();
    for place in extents.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let (start, Reverse(end), first) = place[0];
        while open.last().is_some_and(|&(top, _)| top <= start) {
            open.pop();
        }
        if let Some(&(top, untyped)) = open.last() {
            ensure!(end <= top, ReachesOver, "{first:?}: {top:#x}");
            ensure!(untyped, InsideObject, "{first:?}");
        }
        let object = only_object(place)?;
        open.push((end, object.is_none()));
    }
    Ok(())
}

/// What is there beside untyped memory.
fn only_object(place: &[(u64, Reverse<u64>, Cap)]) -> Check<Option<Cap>> {
    let mut objects = place
        .iter()
        .map(|&(_, _, cap)| cap)
        .filter(|cap| !matches!(cap, Cap::Untyped { .. }));
    let object = objects.next();
    for other in objects {
        let same = object.is_some_and(|object| object.same_object(other));
        ensure!(same, SeveralObjects, "{object:?} and {other:?}");
    }
    Ok(object)
}
