//! FPU ownership: the registers keep the last user's state; everybody else runs with CR0.TS set and faults to get them.

use crate::kernel::{FpuOwner, Kernel};
use crate::machine::Machine;
use crate::mem::{FpuArea, Ref};
use crate::object::Tcb;

impl FpuArea {
    /// The state after FNINIT with all SIMD exceptions masked (APM vol. 1, 6.4; MXCSR 1F80h).
    pub(crate) fn init(&self) {
        self.0[0].set(0x37f);
        self.0[3].set(0x1f80);
    }
}

impl<M: Machine> Kernel<M> {
    /// Before the thread runs: may it use the registers as they are? (A guest's TS is in its VMCB.)
    #[inline(always)]
    pub(crate) fn fpu_prepare(&mut self, tcb: Ref<Tcb>) {
        let others = self.fpu_owner != FpuOwner::thread(tcb);
        self.machine.set_task_switched(others);
    }

    /// Loads `owner`'s state, saving what was there.
    pub(crate) fn fpu_acquire(&mut self, owner: FpuOwner) {
        if self.fpu_owner == owner {
            return;
        }
        self.loaded_thread = 0;
        self.machine.set_task_switched(false);
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

    /// A thread that gave the FPU up keeps nothing loaded.
    pub(crate) fn fpu_disown_if_disabled(&mut self, tcb: Ref<Tcb>) {
        if tcb.fpu_disabled.get() && self.fpu_owner == FpuOwner::thread(tcb) {
            self.fpu_acquire(FpuOwner::NONE);
        }
    }
}
