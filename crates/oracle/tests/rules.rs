//! Each rule of the oracle by itself: answers made up here, without an engine, and what it says of them.

use exit_abi::Mode;
use oracle::{Finding, GhostBucket, Mirror, Oracle, Remnant, Settings, TableRecord};
use shadow::{
    Access, Counters, Error, Fault, Flush, GuestMemory, Limits, Load, LoadReason, Outcome, Rights,
    ShadowTables, TableError, Target,
};
use words::{Gfn, Gpa, Gva, PageSize};

const LONG: Mode = Mode::from_bits(Mode::PG | Mode::PAE | Mode::LMA | Mode::WP | Mode::NXE);
const PAE: Mode = Mode::from_bits(Mode::PG | Mode::PAE);
const CR3: u64 = 0x1000;
/// Where page 1 of the guest leads.
const FRAME: u64 = 0x9000;
/// No memory from here on. Page 2 of the guest leads there.
const END: u64 = 0x10_0000;

/// One table at each of 0x1000 to 0x4000, pages 1 and 2 mapped, with A and D as `marks` says.
struct Memory {
    marks: u64,
}

impl GuestMemory for Memory {
    fn read32(&self, _: Gpa) -> Option<u32> {
        None
    }
    fn read64(&self, at: Gpa) -> Option<u64> {
        match at.bits() {
            0x1000 | 0x2000 | 0x3000 => Some((at.bits() + 0x1000) | 7 | self.marks & 0x20),
            0x4008 => Some(FRAME | 7 | self.marks),
            0x4010 => Some(END | 7 | self.marks),
            at if at < END => Some(0),
            _ => None,
        }
    }
    fn exchange32(&self, _: Gpa, _: u32, _: u32) -> bool {
        false
    }
    fn exchange64(&self, _: Gpa, _: u64, _: u64) -> bool {
        false
    }
    fn is_memory(&self, first: Gpa, bytes: u64) -> bool {
        first.bits() + bytes <= END
    }
}

/// A kernel that agrees to everything, or to nothing.
struct Kernel(Result<(), TableError>);

impl ShadowTables for Kernel {
    fn reset(&mut self, _: u32, _: u32) -> Result<(), TableError> {
        self.0
    }
    fn reset_pae_root(&mut self, _: u32, _: [u32; 4]) -> Result<(), TableError> {
        self.0
    }
    fn link(&mut self, _: u32, _: u32, _: u32) -> Result<(), TableError> {
        self.0
    }
    fn fill(&mut self, _: u32, _: u32, _: Gfn, _: PageSize, _: Rights) -> Result<(), TableError> {
        self.0
    }
    fn clear(&mut self, _: u32, _: u32, _: u32) -> Result<(), TableError> {
        self.0
    }
    fn set_root(&mut self, _: u32) -> Result<(), TableError> {
        self.0
    }
    fn invalidate(&mut self, _: Flush) -> Result<(), TableError> {
        self.0
    }
    fn retire(&mut self) -> Result<(), TableError> {
        self.0
    }
}

/// Runs `scene` with an oracle and a shadow of four levels on the way of the lowest addresses, and gives what was found.
fn scene(scene: impl FnOnce(&mut Oracle<'_>, &mut Mirror<'_, Kernel>)) -> Option<Finding> {
    let mut tables = vec![TableRecord::EMPTY; 5];
    let mut remnants = [Remnant::EMPTY; 4];
    let mut ghosts = [GhostBucket::EMPTY; 4];
    let mut mirror = Mirror::new(Kernel(Ok(())), &mut tables, &mut remnants);
    for (page, level) in [(0, 4), (1, 3), (2, 2), (3, 1)] {
        mirror.reset(page, level).unwrap();
    }
    for page in 1..4 {
        mirror.link(page - 1, 0, page).unwrap();
    }
    mirror.set_root(0).unwrap();
    mirror.vcpu_stopped();
    let settings = Settings {
        max_repeats: 3,
        ..Settings::EVERYTHING
    };
    let mut oracle = Oracle::new(Limits::QEMU64, settings, &mut ghosts);
    scene(&mut oracle, &mut mirror);
    oracle.finish(&MARKED, &mirror, Counters::default());
    oracle.take_finding()
}

const MARKED: Memory = Memory { marks: 0x60 };
const CLEAN: Memory = Memory { marks: 0 };

fn fault(page: u64, code: u32) -> Fault {
    Fault {
        mode: LONG,
        cr3: CR3,
        gva: Gva::new(page << 12),
        access: Access::from_code(code),
    }
}

fn fill(mirror: &mut Mirror<'_, Kernel>, frame: u64, rights: Rights) {
    let gfn = Gpa::new(frame).frame();
    mirror.fill(3, 1, gfn, PageSize::Size4K, rights).unwrap();
}

/// What is said of `outcome` for a write to page 1, which the shadow has as `frame` with `rights`.
fn judged(memory: &Memory, frame: u64, rights: Rights, outcome: Outcome) -> Option<Finding> {
    scene(|oracle, mirror| {
        let fault = fault(1, 2);
        let expected = oracle.before_fault(memory, &fault);
        fill(mirror, frame, rights);
        oracle.after_fault(memory, mirror, &fault, &expected, Ok(outcome));
    })
}

#[test]
fn a_right_fill_is_no_finding() {
    assert_eq!(judged(&MARKED, FRAME, Rights::ALL, Outcome::Filled), None);
}

#[test]
fn a_fill_must_lead_where_the_guest_leads_and_let_the_access_through() {
    let read_only = Rights {
        write: false,
        ..Rights::ALL
    };
    for (frame, rights) in [(FRAME + 0x1000, Rights::ALL), (FRAME, read_only)] {
        let found = judged(&MARKED, frame, rights, Outcome::Filled);
        assert!(
            matches!(found, Some(Finding::NoProgress { leaf: Some(_), .. })),
            "{found:?}"
        );
    }
}

#[test]
fn a_fill_must_leave_a_and_d_set() {
    let found = judged(&CLEAN, FRAME, Rights::ALL, Outcome::Filled);
    assert!(
        matches!(found, Some(Finding::NotMarked { .. })),
        "{found:?}"
    );
}

#[test]
fn a_fault_that_is_not_the_guests_must_not_be_injected() {
    let found = judged(&MARKED, FRAME, Rights::ALL, Outcome::Inject { code: 3 });
    assert!(
        matches!(found, Some(Finding::WrongOutcome { .. })),
        "{found:?}"
    );
}

#[test]
fn memory_is_no_device_and_a_device_is_no_memory() {
    let access = Access::from_code(2);
    let device = |gpa| Outcome::Device {
        gpa: Gpa::new(gpa),
        access,
    };
    let found = judged(&MARKED, FRAME, Rights::ALL, device(FRAME));
    assert!(
        matches!(found, Some(Finding::WrongOutcome { memory: true, .. })),
        "{found:?}"
    );
    for (outcome, right) in [(device(END), true), (Outcome::Filled, false)] {
        let found = scene(|oracle, mirror| {
            let fault = fault(2, 2);
            let expected = oracle.before_fault(&MARKED, &fault);
            oracle.after_fault(&MARKED, mirror, &fault, &expected, Ok(outcome));
        });
        assert_eq!(found.is_none(), right, "{found:?}");
    }
}

#[test]
fn the_same_fault_again_and_again_is_a_finding() {
    let times = |count: usize| {
        scene(|oracle, mirror| {
            fill(mirror, FRAME, Rights::ALL);
            for _ in 0..count {
                let fault = fault(1, 2);
                let expected = oracle.before_fault(&MARKED, &fault);
                oracle.after_fault(&MARKED, mirror, &fault, &expected, Ok(Outcome::Filled));
            }
        })
    };
    assert_eq!(times(4), None);
    assert!(matches!(times(5), Some(Finding::NoEnd { repeats: 4, .. })));
}

#[test]
fn a_leaf_of_an_address_space_that_was_left_is_a_finding() {
    let read = fault(1, 0);
    let found = |reason| {
        scene(|oracle, mirror| {
            let expected = oracle.before_fault(&MARKED, &read);
            fill(mirror, FRAME, Rights::ALL);
            oracle.after_fault(&MARKED, mirror, &read, &expected, Ok(Outcome::Filled));
            let expected = oracle.before_load(&MARKED, LONG, 0x5000, reason);
            oracle.after_load(&MARKED, mirror, &expected, reason, Ok(Load::Done));
        })
    };
    let found = found(LoadReason::Cr3);
    assert_eq!(
        found.map(|found| found.rule()),
        Some("shadow not granted after load")
    );
}

#[test]
fn a_load_that_the_processor_refuses_must_be_refused() {
    let load = |mode, cr3, answer| {
        scene(|oracle, mirror| {
            let expected = oracle.before_load(&MARKED, mode, cr3, LoadReason::Cr3);
            oracle.after_load(&MARKED, mirror, &expected, LoadReason::Cr3, Ok(answer));
        })
    };
    let refused = Load::GeneralProtection;
    assert!(matches!(
        load(LONG, 1 << 40, Load::Done),
        Some(Finding::WrongLoad { .. })
    ));
    assert_eq!(load(LONG, 1 << 40, refused), None);
    assert!(matches!(
        load(LONG, CR3, refused),
        Some(Finding::WrongLoad { .. })
    ));
    // As PDPTEs these tables' entries have reserved bits set.
    assert!(matches!(
        load(PAE, CR3, Load::Done),
        Some(Finding::WrongLoad { .. })
    ));
    assert_eq!(load(PAE, CR3, refused), None);
}

#[test]
fn a_root_of_the_wrong_format_is_a_finding_and_none_where_one_was_promised() {
    let found = scene(|oracle, mirror| {
        oracle.adopt(&MARKED, Mode::from_bits(0), 0);
        oracle.after_ensure_root(mirror, Ok(()));
    });
    assert_eq!(found, Some(Finding::WrongRoot { level: Some(4) }));
    let found = scene(|oracle, mirror| {
        oracle.adopt(&MARKED, LONG, CR3);
        mirror.retire().unwrap();
        oracle.after_ensure_root(mirror, Ok(()));
    });
    assert_eq!(found, Some(Finding::WrongRoot { level: None }));
}

#[test]
fn too_much_work_is_seen_by_the_engines_count_and_by_the_pools() {
    let found = scene(|oracle, mirror| {
        let counters = Counters {
            max_touched: 513,
            ..Counters::default()
        };
        oracle.finish(&MARKED, mirror, counters);
    });
    assert_eq!(found, Some(Finding::TooMuchWork { touched: 513 }));
    let found = scene(|_, mirror| {
        mirror.clear(2, 1, 511).unwrap();
        mirror.clear(2, 0, 2).unwrap();
    });
    assert_eq!(found, Some(Finding::TooMuchWork { touched: 513 }));
}

#[test]
fn what_the_kernel_refuses_and_what_fails_is_a_finding() {
    let found = scene(|_, mirror| {
        mirror.inner_mut().0 = Err(TableError::Refused);
        assert!(mirror.retire().is_err());
    });
    assert_eq!(found, Some(Finding::Refused));
    let found = scene(|oracle, mirror| {
        oracle.adopt(&MARKED, LONG, CR3);
        oracle.after_invlpg(&MARKED, mirror, Gva::new(0), Err(Error::Refused));
    });
    assert_eq!(found, Some(Finding::Failed(Error::Refused)));
}

#[test]
fn a_translation_for_vmm_server_is_judged_too() {
    let target = |target| {
        scene(|oracle, _| {
            let fault = fault(1, 2);
            let expected = oracle.before_translate(&MARKED, &fault);
            oracle.after_translate(&MARKED, &fault, &expected, Ok(target));
        })
    };
    assert_eq!(target(Target::At(Gpa::new(FRAME))), None);
    assert!(matches!(
        target(Target::At(Gpa::new(0))),
        Some(Finding::WrongTarget { .. })
    ));
    assert!(matches!(
        target(Target::Inject { code: 0 }),
        Some(Finding::WrongTarget { .. })
    ));
}
