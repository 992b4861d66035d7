//! What the device server's threads share.
//!
//! | place | written by | read by |
//! | --- | --- | --- |
//! | console input ring | interrupt thread | thread of the VM with the console |
//! | console output ring | thread of the VM with the console | interrupt thread |
//! | deadlines of VM n | thread of VM n sets, interrupt thread clears what it took | both |
//! | end of VM n | thread of VM n | interrupt thread |
//! | armed | interrupt thread | threads of VMs, to tell whether it must be woken |
//!
//! Always: after a flag "somebody waits" is set, what is waited for is looked at once more; so on whichever instruction
//! a thread is preempted, the other side either sees the flag or its work is seen.

use crate::ring::Ring;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use protocol::system::MAX_VMS;

/// No deadline.
pub const NEVER: u64 = u64::MAX;

/// Bytes between the machine's serial port and the VM that owns it.
#[derive(Debug)]
pub struct Console {
    /// From the port to the VM.
    pub input: Ring<1024>,
    /// From the VM to the port.
    pub output: Ring<4096>,
    /// The interrupt thread left received bytes in the port, for want of room.
    pub input_waits: AtomicBool,
    /// The VM's port model holds bytes back, for want of room.
    pub output_waits: AtomicBool,
    /// The port's interrupt will fetch what is in the output ring.
    pub sending: AtomicBool,
}

/// A VM's deadlines (absolute time-stamp counts) and its end.
#[derive(Debug)]
pub struct Link {
    /// Asked for by vmm-server.
    asked: AtomicU64,
    /// Next interrupt of a model here.
    model: AtomicU64,
    /// 0 while it runs, else [`ENDED`] and the byte for the exit port.
    end: AtomicU64,
}

const ENDED: u64 = 1 << 32;

/// Which deadlines of a VM have passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Passed {
    /// The one vmm-server asked for.
    pub asked: bool,
    /// A model's.
    pub model: bool,
}

/// All of it.
#[derive(Debug)]
pub struct Shared {
    /// The console.
    pub console: Console,
    links: [Link; MAX_VMS],
    /// What the timer is armed for.
    armed: AtomicU64,
    /// [`Link::end`] of the VM that ended last.
    last_end: AtomicU64,
}

impl Default for Shared {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    /// Nothing waits, nothing is due.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            console: Console {
                input: Ring::new(),
                output: Ring::new(),
                input_waits: AtomicBool::new(false),
                output_waits: AtomicBool::new(false),
                sending: AtomicBool::new(false),
            },
            links: [const {
                Link {
                    asked: AtomicU64::new(NEVER),
                    model: AtomicU64::new(NEVER),
                    end: AtomicU64::new(0),
                }
            }; MAX_VMS],
            armed: AtomicU64::new(NEVER),
            last_end: AtomicU64::new(0),
        }
    }

    /// Sets the deadline VM `vm` asked for. `true`: the interrupt thread must be woken to arm its timer.
    #[must_use]
    pub fn set_asked(&self, vm: usize, tsc: u64) -> bool {
        self.links.get(vm).is_some_and(|link| {
            link.asked.store(tsc, SeqCst);
            tsc < self.armed.load(SeqCst)
        })
    }

    /// Sets the deadline of VM `vm`'s models. `true`: the interrupt thread must be woken to arm its timer.
    #[must_use]
    pub fn set_model(&self, vm: usize, tsc: u64) -> bool {
        self.links.get(vm).is_some_and(|link| {
            link.model.store(tsc, SeqCst);
            tsc < self.armed.load(SeqCst)
        })
    }

    /// Takes the deadlines of VM `vm` that `now` has reached.
    pub fn take_passed(&self, vm: usize, now: u64) -> Passed {
        // A deadline set anew since it was read is left alone.
        let take = |deadline: &AtomicU64| {
            let at = deadline.load(SeqCst);
            at != NEVER && at <= now && deadline.compare_exchange(at, NEVER, SeqCst, SeqCst).is_ok()
        };
        self.links
            .get(vm)
            .map_or_else(Passed::default, |link| Passed {
                asked: take(&link.asked),
                model: take(&link.model),
            })
    }

    /// The earliest deadline of all.
    #[must_use]
    pub fn earliest(&self) -> u64 {
        self.links
            .iter()
            .flat_map(|link| [&link.asked, &link.model])
            .map(|deadline| deadline.load(SeqCst))
            .min()
            .unwrap_or(NEVER)
    }

    /// What the timer is armed for.
    #[must_use]
    pub fn armed(&self) -> u64 {
        self.armed.load(SeqCst)
    }

    /// The interrupt thread says what it is going to arm the timer for.
    pub fn set_armed(&self, tsc: u64) {
        self.armed.store(tsc, SeqCst);
    }

    /// VM `vm` has ended with this byte for the exit port. `false`: it had before.
    pub fn end(&self, vm: usize, byte: u8) -> bool {
        let Some(link) = self.links.get(vm) else {
            return false;
        };
        let end = ENDED | u64::from(byte);
        let first = link.end.compare_exchange(0, end, SeqCst, SeqCst).is_ok();
        if first {
            link.asked.store(NEVER, SeqCst);
            link.model.store(NEVER, SeqCst);
            self.last_end.store(end, SeqCst);
        }
        first
    }

    /// Whether VM `vm` has ended. Only the thread that serves it ends it.
    #[must_use]
    pub fn has_ended(&self, vm: usize) -> bool {
        let link = self.links.get(vm);
        link.is_some_and(|link| link.end.load(SeqCst) != 0)
    }

    /// When the first `vms` VMs have all ended: the byte of the last.
    #[must_use]
    pub fn all_ended(&self, vms: usize) -> Option<u8> {
        let links = self.links.get(..vms)?;
        let all = vms != 0 && links.iter().all(|link| link.end.load(SeqCst) != 0);
        all.then(|| self.last_end.load(SeqCst) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_wakes_the_timer_only_if_it_is_the_earliest() {
        let shared = Shared::new();
        assert!(shared.set_asked(0, 100));
        shared.set_armed(shared.earliest());
        assert!(!shared.set_asked(1, 100));
        assert!(shared.set_model(1, 99));
        assert_eq!(shared.earliest(), 99);
        assert!(!shared.set_asked(MAX_VMS, 1));
    }

    #[test]
    fn a_deadline_passes_once() {
        let shared = Shared::new();
        let _ = (shared.set_asked(2, 100), shared.set_model(2, 50));
        assert_eq!(shared.take_passed(2, 49), Passed::default());
        assert_eq!(
            shared.take_passed(2, 50),
            Passed {
                asked: false,
                model: true
            }
        );
        assert_eq!(
            shared.take_passed(2, 200),
            Passed {
                asked: true,
                model: false
            }
        );
        assert_eq!(shared.take_passed(2, 200), Passed::default());
        assert_eq!(shared.earliest(), NEVER);
    }

    #[test]
    fn the_run_ends_with_the_last_vm() {
        let shared = Shared::new();
        assert_eq!(shared.all_ended(0), None);
        assert!(shared.end(1, 7));
        assert_eq!(shared.all_ended(2), None);
        assert!(shared.end(0, 5));
        assert!(!shared.end(1, 9));
        assert_eq!(shared.all_ended(2), Some(5));
        assert_eq!(shared.all_ended(MAX_VMS + 1), None);
    }
}
