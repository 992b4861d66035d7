//! A thread of another CSpace that counts periods and keeps a record of them, to show that the kernel still schedules and
//! leaves others' registers and memory alone.

use super::{kit, kit::Kit, priority};
use attack_root::rng::Rng;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use sel4::{CPtr, cap_type, init_thread::slot::VSPACE};
use sel4_root_task::Stack;

const STACK_BYTES: usize = 4096;
static STACK: Stack<STACK_BYTES> = Stack::new();
static BEATS: AtomicU64 = AtomicU64::new(0);
/// What belongs to the number of beats; the thread carries it on in a register.
static PULSE: AtomicU64 = AtomicU64::new(0);
const SEED: u64 = 0xbea7;
/// Pauses that may pass without a beat.
const PATIENCE: u32 = 100;

/// What the thread does: it needs neither stack nor IPC buffer for it.
extern "C" fn beat() -> ! {
    let mut pulse = Rng::new(SEED);
    loop {
        PULSE.store(pulse.next(), Relaxed);
        BEATS.fetch_add(1, Relaxed);
        sel4::r#yield();
    }
}

/// Starts it: a fifth of every millisecond.
pub(crate) fn start(kit: &mut Kit) -> sel4::Result<()> {
    let time = kit.time(200, 1000)?;
    let tcb = kit.tcb(priority::HEARTBEAT, time, kit::none())?;
    let cspace = kit.make_sized::<cap_type::CNode>(1)?;
    let nowhere = CPtr::from_bits(0);
    tcb.tcb_set_space(nowhere, cspace, kit::guard(1), VSPACE.cap())?;
    tcb.debug_name(b"heartbeat");
    let top = (&raw const STACK).addr() + STACK_BYTES - 8;
    kit::start(tcb, beat as *const () as u64, top as u64)
}

/// What the heart has done so far, as somebody remembers who looks at it.
pub(crate) struct Listener {
    beats: u64,
    pulse: Rng,
    last: u64,
}

impl Listener {
    /// Nothing heard yet.
    pub(crate) fn new() -> Self {
        Self {
            beats: 0,
            pulse: Rng::new(SEED),
            last: 0,
        }
    }

    /// Beats so far.
    pub(crate) const fn beats(&self) -> u64 {
        self.beats
    }

    /// Whether it beat since the last time, or does before long, and its record is right. A host that stands still takes its
    /// time from whoever runs, so a beat may cost many periods: one silence alone says nothing.
    pub(crate) fn hears(&mut self) -> Result<(), &'static str> {
        for _ in 0..PATIENCE {
            if BEATS.load(Relaxed) > self.beats {
                break;
            }
            kit::pause();
        }
        let (beats, pulse) = (BEATS.load(Relaxed), PULSE.load(Relaxed));
        if beats == self.beats {
            return Err("the heartbeat stands still");
        }
        while self.beats < beats {
            self.last = self.pulse.next();
            self.beats += 1;
        }
        // Between the two stores of a beat it may have been interrupted, or between the two loads here.
        let (last, mut next) = (self.last, self.pulse.clone());
        if pulse == last || pulse == next.next() || BEATS.load(Relaxed) != beats {
            Ok(())
        } else {
            Err("the heartbeat's record is damaged")
        }
    }
}

/// Whether it goes on.
pub(crate) fn is_alive() -> bool {
    let before = BEATS.load(Relaxed);
    for _ in 0..PATIENCE {
        kit::pause();
        if BEATS.load(Relaxed) > before {
            return true;
        }
    }
    false
}
