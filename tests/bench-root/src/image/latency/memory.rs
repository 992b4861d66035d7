//! Memory: making many objects at once, zeroing, and taking everything back.

use super::{FAN_OUT, Stage, watch};
use crate::image::kit::{at, path, retype};
use sel4::{
    CapTypeForObjectOfFixedSize, CapTypeForObjectOfVariableSize, ObjectBlueprint, Result, cap_type,
};

/// Descendants of the untyped that is revoked.
const CHILDREN: usize = 8192;
/// Radix of a CNode of 16 MiB.
const LARGE_RADIX: usize = 19;

pub(super) fn measure(stage: &Stage) -> Result<()> {
    zero(stage)?;
    make(stage)?;
    revoke(stage)
}

/// The memory was never used, and then it was.
fn zero(stage: &Stage) -> Result<()> {
    let blueprint = cap_type::CNode::object_blueprint(LARGE_RADIX);
    let retype = || retype(stage.arena, &blueprint, stage.slot(0), 1);
    watch("retype-16m-fresh", retype)?;
    let large = path(at::<cap_type::CNode>(stage.slot(0)));
    watch("delete-cnode-2-19-empty", || large.delete())?;
    watch("retype-16m-used", retype)?;
    stage.clear()
}

/// As many of each kind as one call makes.
fn make(stage: &Stage) -> Result<()> {
    let time = sel4::sys::object::MIN_SCHED_CONTEXT_BITS as usize;
    let kinds: [(&str, ObjectBlueprint); 12] = [
        (
            "retype-256-endpoints",
            cap_type::Endpoint::object_blueprint(),
        ),
        (
            "retype-256-notifications",
            cap_type::Notification::object_blueprint(),
        ),
        ("retype-256-replies", cap_type::Reply::object_blueprint()),
        ("retype-256-tcbs", cap_type::Tcb::object_blueprint()),
        (
            "retype-256-contexts",
            cap_type::SchedContext::object_blueprint(time),
        ),
        ("retype-256-cnodes", cap_type::CNode::object_blueprint(4)),
        (
            "retype-256-untypeds",
            cap_type::Untyped::object_blueprint(4),
        ),
        ("retype-256-frames", cap_type::_4k::object_blueprint()),
        (
            "retype-256-page-tables",
            cap_type::PageTable::object_blueprint(),
        ),
        ("retype-256-pml4s", cap_type::PML4::object_blueprint()),
        ("retype-256-vcpus", cap_type::VCpu::object_blueprint()),
        (
            "retype-256-pools",
            cap_type::ShadowPool::object_blueprint(5),
        ),
    ];
    for (name, blueprint) in kinds {
        watch(name, || {
            retype(stage.arena, &blueprint, stage.slot(0), FAN_OUT)
        })?;
        stage.clear()?;
    }
    Ok(())
}

fn revoke(stage: &Stage) -> Result<()> {
    stage.make(cap_type::Endpoint::object_blueprint(), 0, CHILDREN)?;
    watch("revoke-8192-endpoints", || stage.clear())?;
    stage.make(cap_type::Tcb::object_blueprint(), 0, CHILDREN)?;
    watch("revoke-8192-tcbs", || stage.clear())
}
