//! A hostile mmu-server: what it asks of the shadow pool is refused, and the guest runs on nothing it made in secret.

use super::{
    guest::{ALL, Guest, LARGE, Outcome, PAGES, READ_ONLY, leaf, link, place},
    kit::{self, Kit},
    report::{Check, Failure, Report, holds, refused},
};
use exit_abi::Exit;
use sel4::{
    CapRights, Error, Result, VmAttributes, cap, cap_type,
    init_thread::slot,
    shadow_pool::Page,
    sys::{Rights, label::vcpu_right},
};
use words::Gpa;
use words::x86::efer;

/// What a second VM has.
struct Other {
    pool: cap::ShadowPool,
    vcpu: cap::VCpu,
    unbound: cap::VCpu,
    /// The guest's vCPU without the paging right.
    without_paging: cap::VCpu,
}

impl Other {
    fn new(kit: &mut Kit, guest: &Guest) -> Result<Self> {
        let pool = kit.make_sized::<cap_type::ShadowPool>(5)?;
        let vcpu = kit.make::<cap_type::VCpu>()?;
        let space = kit.make::<cap_type::GuestPml4>()?;
        slot::ASID_POOL.cap().asid_pool_assign_guest(space)?;
        pool.bind_space(space)?;
        pool.bind_vcpu(vcpu)?;
        let rights = CapRights::from_inner(Rights::new(vcpu_right::RUN | vcpu_right::READ));
        Ok(Self {
            pool,
            vcpu,
            unbound: kit.make()?,
            without_paging: kit.mint(guest.vcpu, rights, 0)?,
        })
    }
}

type Attack = fn(&Guest, &Other) -> Check;

const ATTACKS: &[(&str, Attack)] = &[
    ("links-across-levels", links_across_levels),
    ("link-to-the-same-level", link_to_the_same_level),
    ("relink-of-a-running-root", relink_of_a_running_root),
    ("reset-of-a-linked-page", reset_of_a_linked_page),
    ("links-are-counted", links_are_counted),
    ("fill-beyond-the-frames", fill_beyond_the_frames),
    ("fill-beyond-the-rights", fill_beyond_the_rights),
    ("fill-of-misaligned-large-pages", fill_misaligned_large),
    ("fill-at-the-wrong-level", fill_at_the_wrong_level),
    (
        "pae-root-with-wrong-directories",
        pae_root_with_wrong_directories,
    ),
    ("pae-root-is-written-by-reset-alone", pae_root_is_sealed),
    ("root-of-the-wrong-format", root_of_the_wrong_format),
    ("use-of-stale-pages-after-unmapping", stale_after_unmapping),
    ("use-of-stale-pages-after-revoking", stale_after_revoking),
    ("use-of-stale-pages-after-retiring", stale_after_retiring),
    ("set-root-with-a-foreign-vcpu", foreign_vcpu),
    (
        "set-root-without-the-paging-right",
        without_the_paging_right,
    ),
    ("ranges-out-of-bounds", ranges_out_of_bounds),
    ("pages-out-of-bounds", pages_out_of_bounds),
    ("bindings-are-for-good", bindings_are_for_good),
];

/// Tries everything.
pub(crate) fn attack(kit: &mut Kit, report: &mut Report) -> Result<()> {
    let guest = Guest::new(kit)?;
    let other = Other::new(kit, &guest)?;
    for (name, attack) in ATTACKS {
        guest.pool.retire()?;
        report.line(name, attack(&guest, &other));
    }
    Ok(())
}

fn links_across_levels(guest: &Guest, _: &Other) -> Check {
    guest.build_long()?;
    let illegal = |from: Page, to: Page| {
        refused(
            guest.pool.link(&[link(place(from, 9), to)]),
            Error::IllegalOperation,
        )
    };
    // A table (3), a directory (2), … up to the root (0): down by two and three, up by any.
    for (from, to) in [
        (0, 2),
        (0, 3),
        (1, 3),
        (3, 2),
        (3, 1),
        (3, 0),
        (2, 1),
        (2, 0),
        (1, 0),
    ] {
        illegal(from, to)?;
    }
    Ok(())
}

fn link_to_the_same_level(guest: &Guest, _: &Other) -> Check {
    for level in 1..5 {
        guest.pool.reset(4, level)?;
        guest.pool.reset(5, level)?;
        for child in [4, 5] {
            refused(
                guest.pool.link(&[link(place(4, 0), child)]),
                Error::IllegalOperation,
            )?;
        }
    }
    Ok(())
}

fn relink_of_a_running_root(guest: &Guest, _: &Other) -> Check {
    guest.build_long()?;
    guest.pool.set_root(0, guest.vcpu)?;
    for page in 1..4 {
        refused(
            guest.pool.link(&[link(place(page, 0), 0)]),
            Error::IllegalOperation,
        )?;
    }
    for level in 1..5 {
        refused(guest.pool.reset(0, level), Error::DeleteFirst)?;
    }
    holds(guest.pool.info()?.root == Some(0), "the root is another")
}

fn reset_of_a_linked_page(guest: &Guest, _: &Other) -> Check {
    guest.build_long()?;
    for page in 1..4 {
        for level in 1..5 {
            refused(guest.pool.reset(page, level), Error::DeleteFirst)?;
        }
    }
    guest.pool.clear(place(2, 0), 1)?;
    Ok(guest.pool.reset(3, 4)?)
}

fn links_are_counted(guest: &Guest, _: &Other) -> Check {
    guest.build_long()?;
    guest
        .pool
        .link(&[link(place(2, 1), 3), link(place(2, 1), 3)])?;
    guest.pool.clear(place(2, 0), 1)?;
    refused(guest.pool.reset(3, 2), Error::DeleteFirst)?;
    guest.pool.clear(place(2, 0), 512)?;
    guest.pool.clear(place(2, 0), 512)?;
    Ok(guest.pool.reset(3, 2)?)
}

fn fill_beyond_the_frames(guest: &Guest, _: &Other) -> Check {
    guest.build_long()?;
    let fill = |frame| guest.pool.fill(&[leaf(place(3, 100), frame, ALL)]);
    let beyond = [
        PAGES,
        LARGE - 1,
        LARGE + 512,
        1 << 18,
        1 << 27,
        1 << 30,
        (1 << 35) - 1,
    ];
    for frame in beyond {
        refused(fill(frame), Error::FailedLookup)?;
    }
    for frame in [1 << 35, 1 << 52, u64::MAX] {
        refused(fill(frame), Error::AlignmentError)?;
    }
    Ok(())
}

/// `mov byte [0xf000], 1` and `mov byte [0xe000], 1`, then a halt.
const WRITES: &[u8] = &[
    0xc6, 0x04, 0x25, 0x00, 0xe0, 0x00, 0x00, 0x01, 0xc6, 0x04, 0x25, 0x00, 0xf0, 0x00, 0x00, 0x01,
    0xf4,
];

fn fill_beyond_the_rights(guest: &Guest, _: &Other) -> Check {
    guest.memory[1].code(WRITES);
    guest.memory[READ_ONLY as usize].write(0, 0);
    running(guest)?;
    let outcome = guest.run_to_exit()?;
    let Outcome::Exit(Exit::Paging { code, gva, .. }) = outcome else {
        return Err(Failure::Because("the guest's write did not fault"));
    };
    holds(
        gva.bits() == READ_ONLY << 12 && code & 2 != 0,
        "the guest faulted elsewhere",
    )?;
    holds(
        guest.memory[READ_ONLY as usize].read(0) == 0,
        "the guest wrote a page it may only read",
    )?;
    holds(
        guest.memory[READ_ONLY as usize - 1].read(0) == 1,
        "the guest could not write a page it may write",
    )
}

fn fill_misaligned_large(guest: &Guest, _: &Other) -> Check {
    guest.build_long()?;
    let fill = |frame| guest.pool.fill(&[leaf(place(2, 7), frame, ALL | 1)]);
    for frame in [1, LARGE + 1, LARGE + 256, LARGE - 1] {
        refused(fill(frame), Error::AlignmentError)?;
    }
    // Backed by small frames only, and by nothing.
    for frame in [0, 2 * LARGE] {
        refused(fill(frame), Error::FailedLookup)?;
    }
    Ok(fill(LARGE)?)
}

fn fill_at_the_wrong_level(guest: &Guest, _: &Other) -> Check {
    guest.build_long()?;
    let fill = |page, attributes| guest.pool.fill(&[leaf(place(page, 0), LARGE, attributes)]);
    for page in [0, 1, 2] {
        refused(fill(page, ALL), Error::IllegalOperation)?;
    }
    for page in [0, 1, 3] {
        refused(fill(page, ALL | 1), Error::IllegalOperation)?;
    }
    refused(fill(3, ALL | 3), Error::InvalidArgument)?;
    // Where the processor has no 1 GiB pages the size itself is refused.
    holds(fill(1, ALL | 2).is_err(), "a large page became a huge one")
}

fn pae_root_with_wrong_directories(guest: &Guest, _: &Other) -> Check {
    guest.build_pae()?;
    let root = |directories| guest.pool.reset_pae_root(20, directories);
    guest.pool.reset(21, 1)?;
    guest.pool.reset(22, 3)?;
    for wrong in [21, 22, 20, 8] {
        refused(root([9, 10, 11, wrong]), Error::IllegalOperation).or_else(|why| {
            if wrong == 20 {
                stale(root([9, 10, 11, wrong]))
            } else {
                Err(why)
            }
        })?;
    }
    stale(root([9, 10, 11, 30]))?;
    refused(root([9, 10, 11, u32::MAX]), Error::RangeError)?;
    // Nothing of that is linked.
    refused(guest.pool.clear(place(20, 0), 1), Error::RevokeFirst)
}

fn pae_root_is_sealed(guest: &Guest, _: &Other) -> Check {
    guest.build_pae()?;
    let pool = guest.pool;
    refused(pool.link(&[link(place(8, 0), 13)]), Error::IllegalOperation)?;
    refused(pool.link(&[link(place(8, 1), 9)]), Error::IllegalOperation)?;
    for size in 0..2 {
        refused(
            pool.fill(&[leaf(place(8, 0), 0, ALL | size)]),
            Error::IllegalOperation,
        )?;
    }
    refused(pool.clear(place(8, 0), 4), Error::IllegalOperation)?;
    let mut bits = [0; 16];
    refused(
        pool.harvest(place(8, 0), 4, &mut bits),
        Error::IllegalOperation,
    )?;
    for directory in 9..13 {
        refused(pool.reset(directory, 2), Error::DeleteFirst)?;
    }
    Ok(())
}

fn root_of_the_wrong_format(guest: &Guest, _: &Other) -> Check {
    guest.build_long()?;
    guest.build_pae()?;
    for page in [1, 2, 3, 9, 13] {
        refused(
            guest.pool.set_root(page, guest.vcpu),
            Error::IllegalOperation,
        )?;
    }
    guest.long_mode_at(0x1000)?;
    guest.pool.set_root(8, guest.vcpu)?;
    guest.has_no_root()?;
    guest.pool.set_root(0, guest.vcpu)?;
    guest
        .vcpu
        .write_registers(exit_abi::Mask(exit_abi::Register::Efer.bit()), &[efer::LME])?;
    guest.has_no_root()
}

/// Holds if a page made before is of no use now.
fn stale<T>(result: Result<T>) -> Check {
    refused(result, Error::RevokeFirst)
}

fn all_is_stale(guest: &Guest) -> Check {
    let pool = guest.pool;
    let mut bits = [0; 16];
    stale(pool.set_root(0, guest.vcpu))?;
    stale(pool.link(&[link(place(2, 0), 3)]))?;
    stale(pool.fill(&[leaf(place(3, 0), 0, ALL)]))?;
    stale(pool.clear(place(3, 0), 1))?;
    stale(pool.harvest(place(3, 0), 1, &mut bits))?;
    // A fresh parent does not make a stale child good.
    pool.reset(2, 2)?;
    stale(pool.link(&[link(place(2, 0), 3)]))?;
    holds(pool.info()?.root.is_none(), "the root is still there")?;
    guest.has_no_root()
}

/// A guest on its root.
fn running(guest: &Guest) -> Result<()> {
    guest.build_long()?;
    guest.long_mode_at(0x1000)?;
    guest.pool.set_root(0, guest.vcpu)
}

fn stale_after_unmapping(guest: &Guest, _: &Other) -> Check {
    running(guest)?;
    let frame = guest.frames[5];
    frame.frame_unmap()?;
    all_is_stale(guest)?;
    guest.pool.reset(3, 1)?;
    let again = |guest: &Guest| guest.pool.fill(&[leaf(place(3, 0), 5, ALL)]);
    refused(again(guest), Error::FailedLookup)?;
    let (rights, attributes) = (CapRights::read_write(), VmAttributes::DEFAULT);
    frame.frame_map_guest(guest.space, Gpa::new(5 << 12), rights, attributes)?;
    Ok(again(guest)?)
}

fn stale_after_revoking(guest: &Guest, _: &Other) -> Check {
    running(guest)?;
    kit::path(guest.memory[6].frame).revoke()?;
    all_is_stale(guest)?;
    guest.pool.reset(3, 1)?;
    refused(
        guest.pool.fill(&[leaf(place(3, 0), 6, ALL)]),
        Error::FailedLookup,
    )?;
    let frame = guest.frames[6];
    kit::path(frame).copy(&kit::path(guest.memory[6].frame), CapRights::all())?;
    let (rights, attributes) = (CapRights::read_write(), VmAttributes::DEFAULT);
    Ok(frame.frame_map_guest(guest.space, Gpa::new(6 << 12), rights, attributes)?)
}

fn stale_after_retiring(guest: &Guest, _: &Other) -> Check {
    running(guest)?;
    guest.pool.retire()?;
    all_is_stale(guest)
}

fn foreign_vcpu(guest: &Guest, other: &Other) -> Check {
    guest.build_long()?;
    for vcpu in [other.vcpu, other.unbound] {
        refused(guest.pool.set_root(0, vcpu), Error::InvalidCapability)?;
    }
    other.pool.reset(0, 4)?;
    refused(other.pool.set_root(0, guest.vcpu), Error::InvalidCapability)?;
    refused(
        guest.pool.set_root(0, guest.pool.cast()),
        Error::InvalidCapability,
    )
}

fn without_the_paging_right(guest: &Guest, other: &Other) -> Check {
    guest.build_long()?;
    refused(
        guest.pool.set_root(0, other.without_paging),
        Error::InvalidCapability,
    )?;
    refused(
        other.pool.bind_vcpu(other.without_paging),
        Error::InvalidCapability,
    )
}

fn ranges_out_of_bounds(guest: &Guest, _: &Other) -> Check {
    guest.build_long()?;
    let mut bits = [0; 16];
    for (slot, count) in [
        (0, 0),
        (0, 513),
        (511, 2),
        (256, 257),
        (512, 1),
        (u16::MAX, 1),
        (0, usize::MAX),
    ] {
        let first = place(3, slot);
        refused(guest.pool.clear(first, count), Error::RangeError)?;
        refused(
            guest.pool.harvest(first, count, &mut bits),
            Error::RangeError,
        )?;
    }
    let beyond = place(3, 512);
    refused(guest.pool.fill(&[leaf(beyond, 0, ALL)]), Error::RangeError)?;
    refused(
        guest.pool.link(&[link(place(2, 512), 3)]),
        Error::RangeError,
    )
}

fn pages_out_of_bounds(guest: &Guest, _: &Other) -> Check {
    guest.build_long()?;
    let mut bits = [0; 16];
    let pages = guest.pool.info()?.pages as u32;
    for page in [pages, pages + 1, 64, 1 << 20, u32::MAX] {
        let range = Error::RangeError;
        refused(guest.pool.reset(page, 1), range)?;
        refused(guest.pool.set_root(page, guest.vcpu), range)?;
        refused(guest.pool.link(&[link(place(page, 0), 3)]), range)?;
        refused(guest.pool.link(&[link(place(2, 0), page)]), range)?;
        refused(guest.pool.fill(&[leaf(place(page, 0), 0, ALL)]), range)?;
        refused(guest.pool.clear(place(page, 0), 1), range)?;
        refused(guest.pool.harvest(place(page, 0), 1, &mut bits), range)?;
    }
    for level in [0, 6, u32::MAX] {
        refused(guest.pool.reset(4, level), Error::RangeError)?;
    }
    Ok(())
}

fn bindings_are_for_good(guest: &Guest, other: &Other) -> Check {
    let illegal = Error::IllegalOperation;
    refused(guest.pool.bind_space(guest.space), illegal)?;
    refused(other.pool.bind_space(guest.space), illegal)?;
    refused(guest.pool.bind_vcpu(other.vcpu), illegal)?;
    refused(other.pool.bind_vcpu(guest.vcpu), illegal)?;
    refused(guest.vcpu.bind_tcb(guest.tcb), illegal)?;
    refused(other.vcpu.bind_tcb(guest.tcb), illegal)
}
