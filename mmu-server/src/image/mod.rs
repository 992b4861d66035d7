//! Wiring: memory window, shadow pool, engine, then the loop.

#[cfg(feature = "oracle")]
mod oracle_storage;
mod ram;
mod room;
mod serve;
mod tables;

use mmu_server::{Server, ShadowMmu, pieces};
use protocol::slots::mmu;
use room::Room;
use sel4::cap;
use sel4_domain::{DomainInfo, declare_domain};
#[cfg(not(feature = "oracle"))]
use shadow::Engine;
use shadow::{Limits, PageRecord};
use words::Gpa;

declare_domain! { name = "mmu-server", main = main }

const POOL: cap::ShadowPool = cap::ShadowPool::from_bits(mmu::POOL);
const VCPU: cap::VCpu = cap::VCpu::from_bits(mmu::VCPU);

/// Most pool pages used: 32 MiB of shadow. Further pages of a larger pool stay idle.
const MAX_PAGES: usize = 8192;
static RECORDS: Room<PageRecord, MAX_PAGES> = Room::new();

/// The pool has fewer pages than [`shadow::MIN_PAGES`].
const TOO_SMALL: &str =
    "the shadow pool is too small: an instruction may need more tables than it has pages";

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
    let pages = usize::try_from(pool.pages.min(vm.shadow_pages)).unwrap_or(MAX_PAGES);
    let records = RECORDS
        .take(pages, &PageRecord::EMPTY)
        .ok_or("the page records are taken")?;
    let tables = tables::PoolTables::new(POOL, VCPU, vm.flush);
    let engine = engine(ram, tables, records)?;
    serve::serve(Server::new(engine), &vm.name)
}

#[cfg(not(feature = "oracle"))]
fn engine(
    ram: ram::Window,
    tables: tables::PoolTables,
    records: &'static mut [PageRecord],
) -> Result<impl ShadowMmu, &'static str> {
    Engine::new(ram, tables, limits(), records).map_err(|_| TOO_SMALL)
}

/// The engine with the oracle around it.
#[cfg(feature = "oracle")]
fn engine(
    ram: ram::Window,
    tables: tables::PoolTables,
    records: &'static mut [PageRecord],
) -> Result<impl ShadowMmu, &'static str> {
    let storage = oracle_storage::take(records.len()).ok_or("the oracle's storage is taken")?;
    log::info!("the oracle watches");
    oracle::Watched::new(
        ram,
        tables,
        limits(),
        records,
        oracle::Settings::BOOTED,
        storage,
    )
    .map_err(|_| TOO_SMALL)
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
