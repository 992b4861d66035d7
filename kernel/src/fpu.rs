//! FPU ownership: the registers keep the last user's state until another uses them. A thread that has used them once gets its
//! state before it runs (docs/decisions/0014-fpu-at-the-switch.md); everybody else runs with CR0.TS set and faults to get
//! them.
//!
//! Always: a thread that owns the registers is marked as [`FpuUse::Used`].

use crate::kernel::{FpuOwner, Kernel};
use crate::machine::Machine;
use crate::mem::{FpuArea, Ref};
use crate::object::Tcb;

/// How a thread stands to the FPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum FpuUse {
    /// It has not used it: the first instruction that does is an exception, which gives it the FPU.
    Unused = 0,
    /// It has used it, and has its state loaded whenever it runs.
    Used,
    /// It may not: such an instruction is its fault.
    Denied,
}

impl FpuArea {
    /// The state after FNINIT with all SIMD exceptions masked (APM vol. 1, 6.4; MXCSR 1F80h).
    pub(crate) fn init(&self) {
        self.0[0].set(0x37f);
        self.0[3].set(0x1f80);
    }
}

impl<M: Machine> Kernel<M> {
    /// Before the thread runs: its state is loaded, or using the registers is an exception. (A guest's TS is in its VMCB.)
    #[inline(always)]
    pub(crate) fn fpu_prepare(&mut self, tcb: Ref<Tcb>) {
        let used = tcb.fpu_use.get() == FpuUse::Used;
        if used && self.fpu_owner != FpuOwner::thread(tcb) {
            return self.fpu_acquire(FpuOwner::thread(tcb));
        }
        self.machine.set_task_switched(!used);
    }

    /// The current thread uses the FPU for the first time; false if it may not.
    pub(crate) fn fpu_first_use(&mut self) -> bool {
        let tcb = self.current;
        if tcb.fpu_use.get() == FpuUse::Denied {
            return false;
        }
        tcb.fpu_use.set(FpuUse::Used);
        self.fpu_acquire(FpuOwner::thread(tcb));
        true
    }

    /// Loads `owner`'s state, saving what was there.
    #[inline(never)]
    pub(crate) fn fpu_acquire(&mut self, owner: FpuOwner) {
        self.loaded_thread = 0;
        self.machine.set_task_switched(false);
        if self.fpu_owner == owner {
            return;
        }
        if let Some(area) = self.fpu_owner.area() {
            self.machine.fpu_save(area);
        }
        if let Some(area) = owner.area() {
            self.machine.fpu_restore(area);
        }
        self.fpu_owner = owner;
    }

    /// The owner goes away.
    pub(crate) fn fpu_forget(&mut self, owner: FpuOwner) {
        if self.fpu_owner == owner {
            self.loaded_thread = 0;
            self.fpu_owner = FpuOwner::NONE;
        }
    }

    /// The thread may not use the FPU any more, and keeps nothing loaded; or it may again.
    pub(crate) fn fpu_deny(&mut self, tcb: Ref<Tcb>, denied: bool) {
        if denied {
            tcb.fpu_use.set(FpuUse::Denied);
            if self.fpu_owner == FpuOwner::thread(tcb) {
                self.fpu_acquire(FpuOwner::NONE);
            }
        } else if tcb.fpu_use.get() == FpuUse::Denied {
            tcb.fpu_use.set(FpuUse::Unused);
        }
    }
}
