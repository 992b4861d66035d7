//! Makes a failing program short: leaves out steps as long as it fails by the same rule.

use crate::failure::Failure;
use crate::op::Op;
use crate::run::{Config, Setup, replay_in};
use crate::world::Room;

/// The failure with the shortest program found.
#[must_use]
pub fn shrink(failure: Failure, config: &Config) -> Failure {
    let mut room = Room::new();
    let mut best = failure;
    // With everything judged after each step it may fail earlier, by another rule.
    if let Err((steps, complaint)) = replay_in(&mut room, &best.setup, config, &best.ops) {
        best.ops.truncate(steps);
        best.complaint = complaint;
    }
    let rule = best.complaint.rule();
    loop {
        let before = best.ops.len();
        let mut chunk = (before / 2).max(1);
        loop {
            let mut at = 0;
            while at < best.ops.len() {
                let mut shorter = best.ops.clone();
                shorter.drain(at..(at + chunk).min(best.ops.len()));
                match attempt(&mut room, best.setup, config, shorter, rule) {
                    Some((complaint, ops)) => {
                        best.complaint = complaint;
                        best.ops = ops;
                    }
                    None => at += chunk,
                }
            }
            if chunk == 1 {
                break;
            }
            chunk /= 2;
        }
        if best.ops.len() == before {
            return best;
        }
    }
}

/// Runs a candidate; if it fails by the same rule, its complaint and the steps up to there.
fn attempt(
    room: &mut Room,
    setup: Setup,
    config: &Config,
    mut ops: Vec<Op>,
    rule: &str,
) -> Option<(crate::Complaint, Vec<Op>)> {
    match replay_in(room, &setup, config, &ops) {
        Err((steps, complaint)) if complaint.rule() == rule => {
            ops.truncate(steps);
            Some((complaint, ops))
        }
        _ => None,
    }
}
