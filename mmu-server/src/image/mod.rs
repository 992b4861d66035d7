//! Wiring: memory window, shadow pool, engine, then the loop.

mod ram;
mod records;
mod serve;
mod tables;

use mmu_server::{Server, pieces};
use protocol::slots::mmu;
use sel4::cap;
use sel4_domain::{DomainInfo, declare_domain};
use shadow::{Engine, Limits};
use words::Gpa;

declare_domain! { name = "mmu-server", main = main }

const POOL: cap::ShadowPool = cap::ShadowPool::from_bits(mmu::POOL);
const VCPU: cap::VCpu = cap::VCpu::from_bits(mmu::VCPU);

fn main(_thread: usize, info: &DomainInfo) -> ! {
    let Err(why) = start(info);
    log::error!("{why}");
    sel4_domain::fail()
}

/// Copies the guest into its memory and serves; comes back only if it cannot.
fn start(info: &DomainInfo) -> Result<core::convert::Infallible, &'static str> {
    let vm = info.vms.first().ok_or("there is no VM to serve")?;
    let ram = ram::Window::open(vm.memory).ok_or("the guest's memory does not fit the window")?;
    let archive =
        ram::Archive::open(info.archive_length).ok_or("the archive does not fit its window")?;
    for copy in pieces::copies(vm, info.archive_length) {
        let copy =
            copy.map_err(|_| "a piece of the guest does not fit its memory or the archive")?;
        let done = ram.fill(Gpa::new(copy.to), &archive, copy.from, copy.length);
        done.ok_or("a piece of the guest could not be copied")?;
    }
    let pool = POOL.info().map_err(|_| "the shadow pool does not answer")?;
    let records = records::take(pool.pages).ok_or("the page records are taken")?;
    let tables = tables::PoolTables::new(POOL, VCPU, vm.flush);
    let engine =
        Engine::new(ram, tables, limits(), records).map_err(|_| "the shadow pool is too small")?;
    serve::serve(Server::new(engine))
}

/// What the guest's CPUID promises: what the machine has, but no wider than 40 bits, which is what vmm-server shows.
fn limits() -> Limits {
    /// 1 GiB pages, leaf 8000_0001 EDX.
    const GIGABYTE_PAGES: u32 = 1 << 26;
    let max = core::arch::x86_64::__cpuid(0x8000_0000).eax;
    let width = if max >= 0x8000_0008 {
        core::arch::x86_64::__cpuid(0x8000_0008).eax & 0xff
    } else {
        36
    };
    let features = if max >= 0x8000_0001 {
        core::arch::x86_64::__cpuid(0x8000_0001).edx
    } else {
        0
    };
    Limits {
        width: width.clamp(32, 40),
        gigabyte_pages: features & GIGABYTE_PAGES != 0,
    }
}
