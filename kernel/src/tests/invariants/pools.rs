//! Shadow pools: they list their vCPUs, and the space they are bound to lists them.

use super::complaint::{Check, ensure};
use super::found::{Found, is_among};
use super::spaces::Lists;
use super::{pages, tables};
use crate::mem::Ref;
use crate::object::{ShadowPool, Vcpu};

pub fn check(found: &Found, lists: &Lists) -> Check {
    for &pool in &found.pools {
        let space = pool.space.get();
        let listed = lists.pools.contains(&pool.bits());
        ensure!(
            listed || space.is_none(),
            PoolUnlisted,
            "{pool:?}: {space:?}"
        );
        let members = members(found, pool)?;
        let granted = space.map(tables::granted).unwrap_or_default();
        pages::check(pool, &members, &granted)?;
    }
    Ok(())
}

/// The vCPUs that the pool lists: all of its own, each once.
fn members(found: &Found, pool: Ref<ShadowPool>) -> Check<Vec<Ref<Vcpu>>> {
    let mut members = Vec::new();
    let mut at = pool.vcpus.get();
    while let Some(vcpu) = at {
        let lives = is_among(&found.vcpus, vcpu);
        ensure!(lives, PoolVcpuDeleted, "{pool:?}: {vcpu:?}");
        ensure!(vcpu.pool.is(pool), PoolVcpu, "{pool:?}: {vcpu:?}");
        let once = !members.contains(&vcpu);
        ensure!(once, PoolVcpuTwice, "{pool:?}: {vcpu:?}");
        members.push(vcpu);
        at = vcpu.pool_next.get();
    }
    let own = found.vcpus.iter().filter(|vcpu| vcpu.pool.is(pool)).count();
    ensure!(own == members.len(), PoolVcpuMissing, "{pool:?}: {own}");
    Ok(members)
}
