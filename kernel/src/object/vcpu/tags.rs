//! TLB tags: which one a vCPU runs under, and when it gets another (I3, I5).

use super::Vcpu;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::mem::Ref;
use crate::mutant::{self, Mutant};
use words::svm::vmcb;

/// TLB tags (SVM's ASIDs; APM vol. 2, 15.16): handed out in turn, everything flushed when they run out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Tags {
    next: u32,
    generation: u64,
    /// The whole flush of this generation is still due: no VMRUN has done it yet.
    flush_due: bool,
}

impl Tags {
    /// No tag given yet; a vCPU's generation 0 is never current.
    pub const fn new() -> Self {
        Self {
            next: 1,
            generation: 1,
            flush_due: false,
        }
    }
}

impl<M: Machine> Kernel<M> {
    /// A tag for this run: the old one, or a fresh one if something was taken from the shadow (I3, I5).
    pub(super) fn assign_tag(&mut self, vcpu: Ref<Vcpu>) {
        let of_now =
            vcpu.generation.get() == self.tags.generation || mutant::is(Mutant::OldGenerationKept);
        let current = of_now && vcpu.tag.get() != 0;
        if vcpu.flush.replace(false) || !current {
            if self.tags.next >= self.machine.svm().asids {
                self.tags.next = 1;
                self.tags.generation += 1;
                self.tags.flush_due = !mutant::is(Mutant::WrapWithoutFlush);
            }
            vcpu.tag.set(self.tags.next);
            vcpu.generation.set(self.tags.generation);
            if !mutant::is(Mutant::TagShared) {
                self.tags.next += 1;
            }
        }
        vcpu.write_part(vmcb::ASID, 4, u64::from(vcpu.tag.get()));
        vcpu.write_part(vmcb::TLB_CONTROL, 1, u64::from(self.tags.flush_due));
    }

    /// After #VMEXIT: a VMRUN that was not refused has done the flush it was asked for.
    pub(crate) fn tag_used(&mut self, vcpu: Ref<Vcpu>, refused: bool) {
        vcpu.write_part(vmcb::TLB_CONTROL, 1, 0);
        if !refused || mutant::is(Mutant::RefusedRunFlushes) {
            self.tags.flush_due = false;
        }
    }

    /// One address of the vCPU's TLB.
    pub(crate) fn vcpu_invalidate(&mut self, vcpu: Ref<Vcpu>, gva: u64) {
        let may_hold = !vcpu.flush.get() && vcpu.generation.get() == self.tags.generation;
        if may_hold && !mutant::is(Mutant::InvalidateAddressSkipped) {
            self.machine.invlpga(gva, vcpu.tag.get());
        }
    }
}
