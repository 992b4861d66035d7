//! Damages to shadow pools.

use super::Damage;
use crate::object::guest_space;
use crate::tests::invariants::Complaint;

pub const DAMAGES: &[Damage] = &[
    (Complaint::PoolUnlisted, |s| {
        guest_space::set_first_pool(s.space(), None);
    }),
    (Complaint::PoolVcpuDeleted, |s| s.lose(s.g.vcpu)),
    (Complaint::PoolVcpu, |s| {
        s.pool().vcpus.set(Some(s.nested()));
    }),
    (Complaint::PoolVcpuTwice, |s| {
        s.vcpu().pool_next.set(Some(s.vcpu()));
    }),
    (Complaint::PoolVcpuMissing, |s| s.pool().vcpus.set(None)),
];
