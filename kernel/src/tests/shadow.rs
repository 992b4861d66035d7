//! A hostile mmu-server against the shadow pool: whatever it asks for, I1 to I3 hold and it gets an error.

use super::fake::FakeMachine;
use super::world::{Answer, World};
use sel4_abi::boot_info::slot as fixed;
use sel4_abi::label::{self, LEVEL_PAE_ROOT, fill};
use sel4_abi::{Error, object};
use words::x86::pte;

const RIGHTS: u64 = fill::WRITE | fill::USER | fill::EXECUTE;

/// A guest-physical space with tables for its first 2 MiB, a pool and a vCPU of it.
pub struct Guest {
    pub world: World,
    pub space: u64,
    pub pool: u64,
    pub vcpu: u64,
    /// Frames at guest-physical pages 0 (writable), 1 (read-only), 2 (no rights).
    pub frames: [u64; 3],
    pub tables: [u64; 3],
}

impl Guest {
    pub fn new() -> Self {
        Self::with(FakeMachine::new())
    }

    pub fn with(machine: FakeMachine) -> Self {
        let mut world = World::with(machine);
        let w = &mut world;
        let space = w.make(object::GUEST_PML4, 0);
        w.call(fixed::ASID_POOL, label::X86_ASID_POOL_ASSIGN, &[], &[space])
            .ok();
        let tables = [
            (object::GUEST_PDPT, label::GUEST_PDPT_MAP),
            (
                object::GUEST_PAGE_DIRECTORY,
                label::GUEST_PAGE_DIRECTORY_MAP,
            ),
            (object::GUEST_PAGE_TABLE, label::GUEST_PAGE_TABLE_MAP),
        ]
        .map(|(ty, map)| {
            let table = w.make(ty, 0);
            w.call(table, map, &[0, 0], &[space]).ok();
            table
        });
        let frames = [3, 2, 0].map(|rights| {
            let frame = w.make(object::X86_4K, 0);
            let page = match rights {
                3 => 0,
                2 => 1,
                _ => 2,
            };
            w.call(
                frame,
                label::PAGE_MAP_GUEST,
                &[page << 12, rights, 0],
                &[space],
            )
            .ok();
            frame
        });
        let pool = w.make(object::SHADOW_POOL, 5);
        let vcpu = w.make(object::VCPU, 0);
        w.call(pool, label::POOL_BIND_SPACE, &[], &[space]).ok();
        w.call(pool, label::POOL_BIND_VCPU, &[], &[vcpu]).ok();
        Self {
            world,
            space,
            pool,
            vcpu,
            frames,
            tables,
        }
    }

    pub fn ask(&mut self, label: u64, words: &[u64]) -> Answer {
        self.world.call(self.pool, label, words, &[])
    }
    /// A frame of 2 MiB, mapped in the space as page 512 and those after it.
    fn large(&mut self) -> u64 {
        let frame = self.world.make(object::X86_LARGE_PAGE, 0);
        let words = [2 << 20, 3, 0];
        self.world
            .call(frame, label::PAGE_MAP_GUEST, &words, &[self.space])
            .ok();
        frame
    }
    /// Pages 0..4 of levels 4..1, linked by their slots 0.
    pub fn chain(&mut self) {
        for page in 0..4 {
            self.ask(label::POOL_RESET, &[page, 4 - page]).ok();
        }
        self.ask(label::POOL_LINK, &[0, 1, 1, 2, 2, 3]).ok();
    }
    /// Pages 4..8 of level 2, page 8 a PAE root of them.
    pub fn pae_root(&mut self) {
        for page in 4..8 {
            self.ask(label::POOL_RESET, &[page, 2]).ok();
        }
        self.ask(label::POOL_RESET, &[8, LEVEL_PAE_ROOT, 4, 5, 6, 7])
            .ok();
    }
    pub fn set_root(&mut self, page: u64) -> Answer {
        self.world
            .call(self.pool, label::POOL_SET_ROOT, &[page], &[self.vcpu])
    }
    fn entry(&self, page: u64, slot: usize) -> u64 {
        self.world.pool(self.pool).page(page).0[slot].get()
    }
    fn root(&self) -> Option<u64> {
        self.world.vcpu(self.vcpu).root.get()
    }
    pub fn take_flush(&self) -> bool {
        self.world.vcpu(self.vcpu).flush.replace(false)
    }
}

const ILLEGAL: (Error, &[u64]) = (Error::IllegalOperation, &[]);

#[track_caller]
fn refused(answer: Answer, (error, words): (Error, &[u64])) {
    assert_eq!(answer, Answer::error(error, words));
}

#[test]
fn links_go_down_one_level_and_nowhere_else() {
    let mut g = Guest::new();
    g.chain();
    for parent in 0..4 {
        for child in 0..4 {
            let answer = g.ask(label::POOL_LINK, &[parent | 5 << 32, child]);
            if child == parent + 1 {
                answer.ok();
            } else {
                refused(answer, ILLEGAL);
            }
        }
    }
    g.pae_root();
    refused(g.ask(label::POOL_LINK, &[8, 4]), ILLEGAL);
    refused(g.ask(label::POOL_LINK, &[0, 8]), ILLEGAL);
    g.world.check();
}

#[test]
fn a_page_number_outside_the_pool_is_a_range_error() {
    let mut g = Guest::new();
    g.chain();
    let last = g.world.pool(g.pool).usable() - 1;
    assert_eq!(last, 29);
    for words in [[last + 1, 1], [u64::MAX, 1]] {
        refused(
            g.ask(label::POOL_RESET, &words),
            (Error::RangeError, &[0, last]),
        );
    }
    refused(
        g.ask(label::POOL_LINK, &[0, last + 1]),
        (Error::RangeError, &[0, last]),
    );
    refused(
        g.ask(label::POOL_FILL, &[30, 0, 0]),
        (Error::RangeError, &[0, last]),
    );
    refused(
        g.ask(label::POOL_FILL, &[3 | 512 << 32, 0, 0]),
        (Error::RangeError, &[0, 511]),
    );
    refused(
        g.ask(label::POOL_CLEAR, &[3 | 511 << 32, 2]),
        (Error::RangeError, &[1, 1]),
    );
    refused(g.set_root(30), (Error::RangeError, &[0, last]));
    refused(
        g.ask(label::POOL_RESET, &[3, 0]),
        (Error::RangeError, &[1, 5]),
    );
    refused(
        g.ask(label::POOL_RESET, &[3, 6]),
        (Error::RangeError, &[1, 5]),
    );
    g.world.check();
}

#[test]
fn a_page_that_was_never_reset_is_stale() {
    let mut g = Guest::new();
    g.chain();
    refused(g.ask(label::POOL_LINK, &[9, 1]), (Error::RevokeFirst, &[]));
    refused(g.ask(label::POOL_LINK, &[0, 9]), (Error::RevokeFirst, &[]));
    refused(
        g.ask(label::POOL_FILL, &[9, 0, 0]),
        (Error::RevokeFirst, &[]),
    );
    refused(g.ask(label::POOL_CLEAR, &[9, 1]), (Error::RevokeFirst, &[]));
    refused(g.set_root(9), (Error::RevokeFirst, &[]));
}

#[test]
fn linked_pages_and_a_running_root_cannot_be_reset() {
    let mut g = Guest::new();
    g.chain();
    g.set_root(0).ok();
    for page in 0..4 {
        for level in 1..=4 {
            refused(
                g.ask(label::POOL_RESET, &[page, level]),
                (Error::DeleteFirst, &[]),
            );
        }
    }
    g.pae_root();
    refused(g.ask(label::POOL_RESET, &[4, 2]), (Error::DeleteFirst, &[]));
    g.ask(label::POOL_RESET, &[8, 1]).ok();
    g.ask(label::POOL_RESET, &[4, 2]).ok();
    g.world.check();
}

#[test]
fn a_running_root_can_be_relinked_inside_but_never_becomes_a_child() {
    let mut g = Guest::new();
    g.chain();
    g.set_root(0).ok();
    g.ask(label::POOL_RESET, &[9, 3]).ok();
    g.ask(label::POOL_LINK, &[0, 9]).ok();
    // The page that was linked before is free now, and resetting it flushes.
    g.take_flush();
    g.ask(label::POOL_RESET, &[1, 2]).ok();
    assert!(g.take_flush());
    assert_eq!(g.root(), Some(0));
    refused(g.ask(label::POOL_LINK, &[9 | 1 << 32, 0]), ILLEGAL);
    g.world.check();
}

#[test]
fn setting_another_root_frees_the_old_one() {
    let mut g = Guest::new();
    g.chain();
    g.set_root(0).ok();
    g.set_root(0).ok();
    g.ask(label::POOL_RESET, &[9, 4]).ok();
    g.set_root(9).ok();
    g.ask(label::POOL_RESET, &[0, 4]).ok();
    refused(g.ask(label::POOL_RESET, &[9, 4]), (Error::DeleteFirst, &[]));
    for page in [2, 3] {
        refused(g.set_root(page), ILLEGAL);
    }
    g.world.check();
}

#[test]
fn a_leaf_beyond_the_guests_frames_is_not_filled() {
    let mut g = Guest::new();
    g.chain();
    let missing = |bits| Answer::error(Error::FailedLookup, &[0, 2, bits]);
    // Page 2 is mapped without rights, page 3 not at all, and the last one is beyond every guest.
    for gfn in [2, 3, 512, (1 << 35) - 1] {
        assert_eq!(
            g.ask(label::POOL_FILL, &[3, gfn, RIGHTS]),
            missing(12),
            "guest frame {gfn}"
        );
    }
    for gfn in [1 << 35, 1 << 52, u64::MAX] {
        refused(
            g.ask(label::POOL_FILL, &[3, gfn, RIGHTS]),
            (Error::AlignmentError, &[]),
        );
    }
    assert_eq!(g.entry(3, 0), 0);
    g.world.check();
}

#[test]
fn a_leaf_has_no_right_that_the_space_does_not_give() {
    let mut g = Guest::new();
    g.chain();
    g.ask(
        label::POOL_FILL,
        &[3, 0, RIGHTS, 3 | 1 << 32, 1, RIGHTS, 3 | 2 << 32, 0, 0],
    )
    .ok();
    assert_eq!(
        g.entry(3, 0) & (pte::RW | pte::US | pte::NX),
        pte::RW | pte::US
    );
    assert_eq!(g.entry(3, 1) & (pte::RW | pte::US | pte::NX), pte::US);
    assert_eq!(g.entry(3, 2) & (pte::RW | pte::US | pte::NX), pte::NX);
    g.world.check();
}

#[test]
fn a_leaf_larger_than_the_frame_behind_it_is_not_filled() {
    let mut g = Guest::new();
    g.chain();
    assert_eq!(
        g.ask(label::POOL_FILL, &[2 | 1 << 32, 0, 1]),
        Answer::error(Error::FailedLookup, &[0, 2, 21])
    );
    refused(
        g.ask(label::POOL_FILL, &[2 | 1 << 32, 1, 1]),
        (Error::AlignmentError, &[]),
    );
    // Huge leaves are refused where the processor has none, and a size must fit the page's level.
    refused(
        g.ask(label::POOL_FILL, &[1 | 1 << 32, 0, 2]),
        (Error::InvalidArgument, &[2]),
    );
    refused(
        g.ask(label::POOL_FILL, &[3, 0, 3]),
        (Error::InvalidArgument, &[2]),
    );
    refused(g.ask(label::POOL_FILL, &[2, 0, 0]), ILLEGAL);
    refused(g.ask(label::POOL_FILL, &[3, 0, 1]), ILLEGAL);
    g.world.check();
}

#[test]
fn a_small_leaf_of_a_large_frame_names_the_right_part() {
    let mut g = Guest::new();
    let large = g.large();
    g.chain();
    g.ask(
        label::POOL_FILL,
        &[3 | 7 << 32, 512 + 7, RIGHTS, 2 | 1 << 32, 512, RIGHTS | 1],
    )
    .ok();
    let base = g.world.frame(large);
    assert_eq!(g.entry(3, 7) & pte::ADDRESS, base + 7 * 4096);
    assert_eq!(g.entry(2, 1) & (pte::ADDRESS | pte::PS), base | pte::PS);
    g.world.check();
}

#[test]
fn a_pae_root_takes_four_live_directories_for_good() {
    let mut g = Guest::new();
    g.pae_root();
    refused(
        g.ask(label::POOL_RESET, &[9, LEVEL_PAE_ROOT, 4, 5, 6]),
        (Error::TruncatedMessage, &[]),
    );
    refused(
        g.ask(label::POOL_RESET, &[9, LEVEL_PAE_ROOT, 4, 5, 6, 11]),
        (Error::RevokeFirst, &[]),
    );
    refused(
        g.ask(label::POOL_RESET, &[9, LEVEL_PAE_ROOT, 4, 5, 6, 9]),
        ILLEGAL,
    );
    refused(
        g.ask(label::POOL_RESET, &[4, LEVEL_PAE_ROOT, 4, 5, 6, 7]),
        ILLEGAL,
    );
    g.ask(label::POOL_RESET, &[10, 3]).ok();
    refused(
        g.ask(label::POOL_RESET, &[9, LEVEL_PAE_ROOT, 4, 5, 6, 10]),
        ILLEGAL,
    );
    // One directory may stand in all four places.
    g.ask(label::POOL_RESET, &[9, LEVEL_PAE_ROOT, 4, 4, 4, 4])
        .ok();
    for n in 0..4 {
        let entry = g.entry(8, n);
        assert_eq!(entry & !pte::ADDRESS, pte::P, "a PDPTE has no rights bits");
    }
    refused(g.ask(label::POOL_CLEAR, &[8, 4]), ILLEGAL);
    refused(g.ask(label::POOL_HARVEST, &[8, 4]), ILLEGAL);
    refused(g.ask(label::POOL_FILL, &[8, 0, RIGHTS]), ILLEGAL);
    g.world.check();
}

/// The shadow of guest page 0 and its root, then `away` takes the frame away.
fn after(away: impl FnOnce(&mut Guest)) {
    let mut g = Guest::new();
    g.chain();
    g.ask(label::POOL_FILL, &[3, 0, RIGHTS]).ok();
    g.set_root(0).ok();
    g.take_flush();
    let before = g.ask(label::POOL_INFO, &[]).ok();
    assert_eq!(before[2], 0);
    away(&mut g);
    assert_eq!(g.root(), None, "the root is gone");
    assert!(g.take_flush(), "a fresh tag is due");
    let info = g.ask(label::POOL_INFO, &[]).ok();
    assert!(info[1] > before[1], "a new epoch");
    assert_eq!(info[2], u64::MAX);
    refused(g.set_root(0), (Error::RevokeFirst, &[]));
    refused(g.ask(label::POOL_LINK, &[0, 1]), (Error::RevokeFirst, &[]));
    g.chain();
    assert_eq!(g.entry(3, 0), 0, "a reset page is empty");
    g.world.check();
}

#[test]
fn unmapping_a_guest_frame_makes_every_shadow_page_stale() {
    after(|g| {
        g.world
            .call(g.frames[0], label::X86_PAGE_UNMAP, &[], &[])
            .ok();
    });
}

#[test]
fn deleting_a_guest_frame_makes_every_shadow_page_stale() {
    after(|g| g.world.delete(g.frames[0]));
}

#[test]
fn revoking_the_memory_of_a_guest_frame_makes_every_shadow_page_stale() {
    after(|g| {
        // The untyped it was made of; everything else made of it goes too, but for what the test needs.
        let spare = g.world.retype(g.world.spare, object::UNTYPED, 12);
        let frame = g.world.retype(spare, object::X86_4K, 0);
        g.world
            .call(frame, label::PAGE_MAP_GUEST, &[0x5000, 3, 0], &[g.space])
            .ok();
        g.world.revoke(spare);
        assert!(g.world.cap(frame).is_null());
    });
}

#[test]
fn unmapping_a_guest_table_makes_every_shadow_page_stale() {
    after(|g| {
        g.world
            .call(g.tables[2], label::GUEST_PAGE_TABLE_UNMAP, &[], &[])
            .ok();
    });
}

#[test]
fn taking_a_right_from_a_guest_frame_makes_every_shadow_page_stale() {
    after(|g| {
        g.world
            .call(g.frames[0], label::PAGE_MAP_GUEST, &[0, 2, 0], &[g.space])
            .ok();
    });
}

#[test]
fn another_frame_in_a_guest_frames_place_makes_every_shadow_page_stale() {
    after(|g| {
        let frame = g.world.make(object::X86_4K, 0);
        g.world
            .call(frame, label::PAGE_MAP_GUEST, &[0, 3, 0], &[g.space])
            .ok();
    });
}

#[test]
fn retiring_makes_every_shadow_page_stale() {
    after(|g| {
        g.ask(label::POOL_RETIRE, &[]).ok();
    });
}

#[test]
fn a_pool_whose_space_is_deleted_fills_nothing() {
    let mut g = Guest::new();
    g.chain();
    g.set_root(0).ok();
    g.world.delete(g.space);
    assert_eq!(g.root(), None);
    g.chain();
    refused(g.ask(label::POOL_FILL, &[3, 0, RIGHTS]), ILLEGAL);
    refused(g.set_root(0), (Error::InvalidCapability, &[1]));
    g.world.check();
}

#[test]
fn a_pool_whose_space_lost_its_number_fills_nothing() {
    let mut g = Guest::new();
    let w = &mut g.world;
    let memory = w.make(object::UNTYPED, 12);
    let numbers = w.empty();
    w.call(
        fixed::ASID_CONTROL,
        label::X86_ASID_CONTROL_MAKE_POOL,
        &[numbers, 64],
        &[memory, fixed::CNODE],
    )
    .ok();
    let tables = [
        (object::GUEST_PML4, 0),
        (object::GUEST_PDPT, label::GUEST_PDPT_MAP),
        (
            object::GUEST_PAGE_DIRECTORY,
            label::GUEST_PAGE_DIRECTORY_MAP,
        ),
        (object::GUEST_PAGE_TABLE, label::GUEST_PAGE_TABLE_MAP),
    ]
    .map(|(ty, map)| (w.make(ty, 0), map));
    let space = tables[0].0;
    w.call(numbers, label::X86_ASID_POOL_ASSIGN, &[], &[space])
        .ok();
    for (table, map) in &tables[1..] {
        w.call(*table, *map, &[0, 0], &[space]).ok();
    }
    let frame = w.make(object::X86_4K, 0);
    w.call(frame, label::PAGE_MAP_GUEST, &[0, 3, 0], &[space])
        .ok();
    g.pool = w.make(object::SHADOW_POOL, 5);
    w.call(g.pool, label::POOL_BIND_SPACE, &[], &[space]).ok();
    g.chain();
    g.ask(label::POOL_FILL, &[3, 0, RIGHTS]).ok();
    // From now on nothing can be unmapped from the space: a frame that leaves must not stay reachable.
    g.world.delete(numbers);
    g.chain();
    refused(g.ask(label::POOL_FILL, &[3, 0, RIGHTS]), ILLEGAL);
    refused(
        g.world.call(g.pool, label::POOL_BIND_SPACE, &[], &[space]),
        (Error::InvalidCapability, &[1]),
    );
    g.world.check();
}

#[test]
fn a_number_used_again_by_another_kind_of_space_is_not_mistaken_for_the_old_one() {
    let mut g = Guest::new();
    let w = &mut g.world;
    let frame = g.frames[0];
    w.delete(g.space);
    // A user address space gets the guest's number, and the same frame at the same address.
    let host = w.make(object::X64_PML4, 0);
    w.call(fixed::ASID_POOL, label::X86_ASID_POOL_ASSIGN, &[], &[host])
        .ok();
    for (ty, map) in [
        (object::X86_PDPT, label::X86_PDPT_MAP),
        (object::X86_PAGE_DIRECTORY, label::X86_PAGE_DIRECTORY_MAP),
        (object::X86_PAGE_TABLE, label::X86_PAGE_TABLE_MAP),
    ] {
        let table = w.make(ty, 0);
        w.call(table, map, &[0, 0], &[host]).ok();
    }
    let copy = w.copy(frame, 15);
    w.call(copy, label::X86_PAGE_MAP, &[0, 3, 0], &[host]).ok();
    w.call(frame, label::X86_PAGE_UNMAP, &[], &[]).ok();
    w.check();
    let crate::cap::Cap::Frame { mapping, .. } = w.cap(copy) else {
        panic!("no frame")
    };
    assert!(mapping.is_some());
}

#[test]
fn device_memory_never_gets_into_a_guest() {
    let mut g = Guest::new();
    let device = g.world.untyped.clone().find(|&slot| {
        matches!(
            g.world.cap(slot),
            crate::cap::Cap::Untyped {
                device: true,
                bits: 12..,
                ..
            }
        )
    });
    let frame = g
        .world
        .retype(device.expect("device memory"), object::X86_4K, 0);
    let answer = g
        .world
        .call(frame, label::PAGE_MAP_GUEST, &[0x9000, 3, 0], &[g.space]);
    refused(answer, ILLEGAL);
}

#[test]
fn a_vcpu_without_the_paging_right_gets_no_root() {
    let mut g = Guest::new();
    g.chain();
    let weak = g.world.copy(g.vcpu, 3);
    let answer = g.world.call(g.pool, label::POOL_SET_ROOT, &[0], &[weak]);
    refused(answer, (Error::InvalidCapability, &[1]));
    let other = g.world.make(object::VCPU, 0);
    let answer = g.world.call(g.pool, label::POOL_SET_ROOT, &[0], &[other]);
    refused(answer, (Error::InvalidCapability, &[1]));
    refused(
        g.world.call(g.pool, label::POOL_BIND_VCPU, &[], &[g.vcpu]),
        ILLEGAL,
    );
    refused(
        g.world
            .call(g.pool, label::POOL_BIND_SPACE, &[], &[g.space]),
        ILLEGAL,
    );
}

#[test]
fn harvest_tells_and_clears_what_the_hardware_noted_and_flushes() {
    let mut g = Guest::new();
    g.chain();
    g.ask(
        label::POOL_FILL,
        &[3, 0, RIGHTS | fill::TRACK, 3 | 33 << 32, 1, RIGHTS],
    )
    .ok();
    g.take_flush();
    let words = g.ask(label::POOL_HARVEST, &[3, 40]).ok();
    assert_eq!(words, [0, 3 << 2]);
    assert!(g.take_flush());
    assert_eq!(g.entry(3, 33) & (pte::A | pte::D), 0);
    assert_eq!(g.ask(label::POOL_HARVEST, &[3, 40]).ok(), [0, 0]);
    // Links keep their bits: they are no leaves.
    assert_eq!(g.ask(label::POOL_HARVEST, &[2, 1]).ok(), [0]);
    assert_ne!(g.entry(2, 0), 0);
}

#[test]
fn a_deleted_pool_leaves_its_vcpu_without_root() {
    let mut g = Guest::new();
    g.chain();
    g.set_root(0).ok();
    g.world.delete(g.pool);
    assert_eq!(g.root(), None);
    assert!(g.take_flush());
    g.world.check();
    let pool = g.world.make(object::SHADOW_POOL, 5);
    g.world
        .call(pool, label::POOL_BIND_VCPU, &[], &[g.vcpu])
        .ok();
    g.world.check();
}

#[test]
fn filling_over_a_link_gives_the_linked_page_free() {
    let mut g = Guest::new();
    g.large();
    g.chain();
    refused(g.ask(label::POOL_RESET, &[3, 1]), (Error::DeleteFirst, &[]));
    g.ask(label::POOL_FILL, &[2, 512, RIGHTS | 1]).ok();
    g.ask(label::POOL_RESET, &[3, 1]).ok();
    g.ask(label::POOL_LINK, &[2, 3]).ok();
    g.world.check();
}
