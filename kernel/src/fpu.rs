//! FPU ownership: the registers keep the last user's state; everybody else runs with CR0.TS set and faults to get them.

use crate::kernel::{FpuOwner, Kernel};
use crate::machine::Machine;
use crate::mem::{FpuArea, Ref};
use crate::object::{Tcb, Vcpu};
use words::Hpa;

impl FpuArea {
    /// The state after FNINIT with all SIMD exceptions masked (APM vol. 1, 6.4; MXCSR 1F80h).
    pub(crate) fn init(&self) {
        self.0[0].set(0x37f);
        self.0[3].set(0x1f80);
    }
}

fn area(owner: FpuOwner) -> Option<Hpa> {
    let at = |base: u64, offset: usize| Some(Hpa::new(base + offset as u64));
    match owner {
        FpuOwner::None => None,
        FpuOwner::Thread(tcb) => at(Ref::bits(tcb), core::mem::offset_of!(Tcb, fpu)),
        FpuOwner::Guest(vcpu) => at(Ref::bits(vcpu), core::mem::offset_of!(Vcpu, fpu)),
    }
}

impl<M: Machine> Kernel<M> {
    #[inline(always)]
    /// Before `owner` runs: may it use the registers as they are?
    pub(crate) fn fpu_prepare(&mut self, owner: FpuOwner) {
        // A guest's TS is in its VMCB.
        if let FpuOwner::Thread(_) = owner {
            self.machine.set_task_switched(self.fpu_owner != owner);
        }
    }

    /// Loads `owner`'s state, saving what was there.
    pub(crate) fn fpu_acquire(&mut self, owner: FpuOwner) {
        if self.fpu_owner == owner {
            return;
        }
        self.loaded_thread = 0;
        self.machine.set_task_switched(false);
        if let Some(area) = area(self.fpu_owner) {
            self.machine.fpu_save(area);
        }
        if let Some(area) = area(owner) {
            self.machine.fpu_restore(area);
        }
        self.fpu_owner = owner;
    }

    /// The owner goes away.
    pub(crate) fn fpu_forget(&mut self, owner: FpuOwner) {
        if self.fpu_owner == owner {
            self.loaded_thread = 0;
            self.fpu_owner = FpuOwner::None;
        }
    }

    /// A thread that gave the FPU up keeps nothing loaded.
    pub(crate) fn fpu_disown_if_disabled(&mut self, tcb: Ref<Tcb>) {
        if tcb.fpu_disabled.get() && self.fpu_owner == FpuOwner::Thread(tcb) {
            self.fpu_acquire(FpuOwner::None);
        }
    }
}
