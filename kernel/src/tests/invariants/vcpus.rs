//! vCPUs: in a pool, or under nested paging in a space that lists them.

use super::complaint::{Check, ensure};
use super::found::{Found, is_among};
use super::spaces::Lists;
use crate::mem::Ref;
use crate::object::Vcpu;

pub fn check(found: &Found, lists: &Lists) -> Check {
    for &vcpu in &found.vcpus {
        if let Some(tcb) = vcpu.tcb.get() {
            ensure!(tcb.vcpu.is(vcpu), VcpuThread, "{vcpu:?}: {tcb:?}");
        }
        space(vcpu, lists)?;
        if let Some(pool) = vcpu.pool.get() {
            let lives = is_among(&found.pools, pool);
            ensure!(lives, VcpuPoolDeleted, "{vcpu:?}: {pool:?}");
        } else {
            let root = vcpu.root.get();
            ensure!(root.is_none(), VcpuRootWithoutPool, "{vcpu:?}: {root:?}");
        }
    }
    Ok(())
}

fn space(vcpu: Ref<Vcpu>, lists: &Lists) -> Check {
    let space = vcpu.space.get();
    if !vcpu.nested.get() {
        ensure!(space.is_none(), VcpuSpaceWithoutUse, "{vcpu:?}: {space:?}");
        return Ok(());
    }
    ensure!(vcpu.pool.get().is_none(), VcpuSpaceAndPool, "{vcpu:?}");
    let listed = lists.vcpus.contains(&vcpu.bits());
    ensure!(
        listed || space.is_none(),
        VcpuUnlisted,
        "{vcpu:?}: {space:?}"
    );
    Ok(())
}
