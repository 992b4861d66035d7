//! Damages to vCPUs.

use super::Damage;
use crate::mem::Ref;
use crate::object::guest_space;
use crate::tests::invariants::Complaint;

pub const DAMAGES: &[Damage] = &[
    (Complaint::VcpuThread, |s| {
        s.vcpu().tcb.set(Some(s.ready.tcb));
    }),
    (Complaint::VcpuSpaceWithoutUse, |s| {
        s.vcpu().space.set(Some(s.space()));
    }),
    (Complaint::VcpuSpaceAndPool, |s| s.vcpu().nested.set(true)),
    (Complaint::VcpuUnlisted, |s| {
        guest_space::set_first_vcpu(s.space(), None);
    }),
    (Complaint::VcpuPoolDeleted, |s| {
        s.vcpu().pool.set(Some(Ref::at(s.ready.tcb.bits())));
    }),
    (Complaint::VcpuRootWithoutPool, |s| {
        s.nested().root.set(Some(0));
    }),
];
