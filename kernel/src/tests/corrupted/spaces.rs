//! Damages to address spaces, and to what a guest-physical space lists.

use super::Damage;
use crate::tests::invariants::Complaint;
use sel4_abi::boot_info::slot as fixed;

pub const DAMAGES: &[Damage] = &[
    (Complaint::AsidPoolDeleted, |s| s.lose(fixed::ASID_POOL)),
    (Complaint::RootTableDeleted, |s| s.lose(s.g.space)),
    (Complaint::TableDeleted, |s| s.lose(s.g.tables[0])),
    (Complaint::FrameUnmapped, |s| s.lose(s.g.frames[0])),
    (Complaint::SpaceVcpuDeleted, |s| s.lose(s.nested)),
    (Complaint::SpaceVcpu, |s| s.nested().space.set(None)),
    (Complaint::SpaceVcpuTwice, |s| {
        s.nested().space_next.set(Some(s.nested()));
    }),
    (Complaint::SpacePoolDeleted, |s| s.lose(s.g.pool)),
    (Complaint::SpacePool, |s| s.pool().space.set(None)),
    (Complaint::SpacePoolTwice, |s| {
        s.pool().next.set(Some(s.pool()));
    }),
];
