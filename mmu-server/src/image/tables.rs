//! The engine's tables are the kernel's shadow pool.

use protocol::system::Flush as Method;
use sel4::shadow_pool::{self, Entry, Fill, Link};
use sel4::sys::label::fill;
use sel4::{Error, cap};
use shadow::{Flush, Rights, ShadowTables, TableError};
use words::{Gfn, PageSize};

/// The pool, and the vCPU whose root it holds.
#[derive(Debug)]
pub struct PoolTables {
    pool: cap::ShadowPool,
    vcpu: cap::VCpu,
    method: Method,
}

impl PoolTables {
    /// Tables in `pool` for `vcpu`; single addresses are flushed by `method`.
    pub const fn new(pool: cap::ShadowPool, vcpu: cap::VCpu, method: Method) -> Self {
        Self { pool, vcpu, method }
    }
}

/// The kernel's answer as the engine wants it: a stale page is answered with RevokeFirst.
fn settled(what: &'static str, result: sel4::Result<()>) -> Result<(), TableError> {
    result.map_err(|error| match error {
        Error::RevokeFirst => TableError::Stale,
        error => {
            log::warn!("the kernel refuses to {what}: {error:?}");
            TableError::Refused
        }
    })
}

const fn entry(page: u32, slot: u32) -> Entry {
    Entry {
        page,
        slot: slot as u16,
    }
}

const fn attributes(size: PageSize, rights: Rights) -> u64 {
    let size = match size {
        PageSize::Size4K => 0,
        PageSize::Size2M => 1,
        PageSize::Size1G => 2,
    };
    size | if rights.write { fill::WRITE } else { 0 }
        | if rights.user { fill::USER } else { 0 }
        | if rights.execute { fill::EXECUTE } else { 0 }
}

impl ShadowTables for PoolTables {
    fn reset(&mut self, page: u32, level: u32) -> Result<(), TableError> {
        settled("reset a page", self.pool.reset(page, level))
    }
    fn reset_pae_root(&mut self, page: u32, directories: [u32; 4]) -> Result<(), TableError> {
        settled(
            "make a PAE root",
            self.pool.reset_pae_root(page, directories),
        )
    }
    fn link(&mut self, parent: u32, slot: u32, child: u32) -> Result<(), TableError> {
        settled(
            "link",
            self.pool.link(&[Link {
                parent: entry(parent, slot),
                child,
            }]),
        )
    }
    fn fill(
        &mut self,
        page: u32,
        slot: u32,
        gfn: Gfn,
        size: PageSize,
        rights: Rights,
    ) -> Result<(), TableError> {
        let leaf = Fill {
            entry: entry(page, slot),
            frame: gfn,
            attributes: attributes(size, rights),
        };
        settled("fill", self.pool.fill(&[leaf]))
    }
    fn clear(&mut self, page: u32, slot: u32, count: u32) -> Result<(), TableError> {
        settled("clear", self.pool.clear(entry(page, slot), count as usize))
    }
    fn set_root(&mut self, page: u32) -> Result<(), TableError> {
        settled("set the root", self.pool.set_root(page, self.vcpu))
    }
    fn invalidate(&mut self, what: Flush) -> Result<(), TableError> {
        let what = match (what, self.method) {
            (Flush::Address(gva), Method::Invlpga) => shadow_pool::Flush::Address(gva),
            (Flush::Address(_), Method::Tag) | (Flush::All, _) => shadow_pool::Flush::All,
        };
        settled("flush", self.pool.invalidate(what))
    }
    fn retire(&mut self) -> Result<(), TableError> {
        settled("retire the pool", self.pool.retire())
    }
}
