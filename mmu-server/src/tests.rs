//! Requests against a small guest, with tables that accept everything.

use crate::{GuestRam, Message, Server, ShadowMmu};
use exit_abi::{Exit, Mode, Status};
use protocol::mmu::{self, load, outcome, stats};
use shadow::bounds::MAX_TURNS;
use shadow::{
    Counters, Engine, Error, Fault, Flush, GuestMemory, Limits, Load, LoadReason, Outcome,
    PageRecord, Rights, ShadowTables, TableError, Target,
};
use std::cell::RefCell;
use words::{Gfn, Gpa, Gva, PageSize};

const MEMORY: usize = 0x20_0000;
const PROTECTED: u64 = Mode::PE as u64;
/// 4-byte tables at 0x1000 and 0x2000: page 3 at linear 0, present and writable; page 4 at 0x1000, read-only; a page
/// without memory at 0x2000.
const PAGED: u64 = (Mode::PE | Mode::PG | Mode::WP) as u64;
const CR3: u64 = 0x1000;

struct Ram(RefCell<Vec<u8>>);

impl Ram {
    fn new() -> Self {
        let ram = Self(RefCell::new(vec![0; MEMORY]));
        for (at, entry) in [
            (0x1000, 0x2003u32),
            (0x2000, 0x3003),
            (0x2004, 0x4001),
            (0x2008, 0xfee0_0003),
        ] {
            ram.write(Gpa::new(at), &entry.to_le_bytes());
        }
        ram
    }
    fn get<const N: usize>(&self, at: Gpa) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.read(at, &mut bytes).then_some(bytes)
    }
}

impl GuestMemory for &Ram {
    fn read32(&self, at: Gpa) -> Option<u32> {
        self.get(at).map(u32::from_le_bytes)
    }
    fn read64(&self, at: Gpa) -> Option<u64> {
        self.get(at).map(u64::from_le_bytes)
    }
    fn exchange32(&self, at: Gpa, current: u32, new: u32) -> bool {
        self.read32(at) == Some(current) && Ram::write(self, at, &new.to_le_bytes())
    }
    fn exchange64(&self, at: Gpa, current: u64, new: u64) -> bool {
        self.read64(at) == Some(current) && Ram::write(self, at, &new.to_le_bytes())
    }
    fn is_memory(&self, first: Gpa, bytes: u64) -> bool {
        first
            .checked_add(bytes)
            .is_some_and(|end| end.bits() <= MEMORY as u64)
    }
}

impl Ram {
    fn read(&self, from: Gpa, to: &mut [u8]) -> bool {
        let fits = (&self).is_memory(from, to.len() as u64);
        if fits {
            to.copy_from_slice(&self.0.borrow()[from.bits() as usize..][..to.len()]);
        }
        fits
    }
    fn write(&self, to: Gpa, from: &[u8]) -> bool {
        let fits = (&self).is_memory(to, from.len() as u64);
        if fits {
            self.0.borrow_mut()[to.bits() as usize..][..from.len()].copy_from_slice(from);
        }
        fits
    }
}

impl GuestRam for &Ram {
    fn read(&self, from: Gpa, to: &mut [u8]) -> bool {
        Ram::read(self, from, to)
    }
    fn write(&self, to: Gpa, from: &[u8]) -> bool {
        Ram::write(self, to, from)
    }
}

struct Willing;

impl ShadowTables for Willing {
    fn reset(&mut self, _: u32, _: u32) -> Result<(), TableError> {
        Ok(())
    }
    fn reset_pae_root(&mut self, _: u32, _: [u32; 4]) -> Result<(), TableError> {
        Ok(())
    }
    fn link(&mut self, _: u32, _: u32, _: u32) -> Result<(), TableError> {
        Ok(())
    }
    fn fill(&mut self, _: u32, _: u32, _: Gfn, _: PageSize, _: Rights) -> Result<(), TableError> {
        Ok(())
    }
    fn clear(&mut self, _: u32, _: u32, _: u32) -> Result<(), TableError> {
        Ok(())
    }
    fn set_root(&mut self, _: u32) -> Result<(), TableError> {
        Ok(())
    }
    fn invalidate(&mut self, _: Flush) -> Result<(), TableError> {
        Ok(())
    }
    fn retire(&mut self) -> Result<(), TableError> {
        Ok(())
    }
}

/// Runs `test` with a function that sends a request and brings the reply's label and words.
fn with_server(test: impl FnOnce(&mut dyn FnMut(u64, &[u64]) -> (u64, Vec<u64>))) {
    let ram = Ram::new();
    let mut records = [PageRecord::EMPTY; shadow::MIN_PAGES];
    let engine = Engine::new(&ram, Willing, Limits::QEMU64, &mut records).unwrap();
    let mut server = Server::new(engine);
    test(&mut |label, words| {
        let mut message = Message::new();
        let kept = words.len().min(message.words.len());
        message.words[..kept].copy_from_slice(&words[..kept]);
        (message.label, message.length) = (label, words.len());
        assert!(server.answer(&mut message).is_none());
        (message.label, message.words[..message.length].to_vec())
    });
}

fn paging(code: u16, mode: u64, gva: u64, cr3: u64) -> [u64; 3] {
    let exit = Exit::Paging {
        code,
        mode: Mode::from_bits(mode as u32),
        gva: Gva::new(gva),
        cr3,
        event: 0,
    };
    let [w0, w1, w2, _] = exit.encode(Status {
        interrupts_enabled: true,
        ..Status::default()
    });
    [w0, w1, w2]
}

#[test]
fn a_fault_is_answered_with_one_of_the_outcomes() {
    with_server(|ask| {
        assert_eq!(
            ask(mmu::FAULT, &paging(2, PAGED, 0x10, CR3)),
            (outcome::DONE, vec![])
        );
        assert_eq!(
            ask(mmu::FAULT, &paging(2, PAGED, 0x1010, CR3)),
            (outcome::INJECT, vec![3, 0x1010])
        );
        assert_eq!(
            ask(mmu::FAULT, &paging(2, PAGED, 0x2010, CR3)),
            (outcome::DEVICE, vec![0xfee0_0010, 2])
        );
        assert_eq!(
            ask(mmu::FAULT, &paging(0, PROTECTED, 0x40_0000, 0)),
            (outcome::DEVICE, vec![0x40_0000, 0])
        );
        let (label, counters) = ask(mmu::STATS, &[]);
        assert_eq!((label, counters.len()), (0, stats::COUNT));
        assert_eq!(
            [stats::FILLS, stats::INJECTED, stats::DEVICE].map(|n| counters[n]),
            [1, 1, 2]
        );
    });
}

#[test]
fn an_instruction_that_would_fault_for_ever_is_refused() {
    with_server(|ask| {
        // Page 4 for users to read.
        ask(mmu::WRITE_PHYSICAL, &[0x1000, 4, 0x2007]);
        ask(mmu::WRITE_PHYSICAL, &[0x2004, 4, 0x4005]);
        let mode = u64::from(Mode::PE | Mode::PG | 3 << Mode::CPL_SHIFT);
        let faults = [4, 2].map(|code| paging(code, mode, 0x1000, CR3));
        let mut last = outcome::DONE;
        for _ in 0..=MAX_TURNS {
            assert_eq!(last, outcome::DONE);
            last = faults.map(|fault| ask(mmu::FAULT, &fault).0)[1];
            if last != outcome::DONE {
                break;
            }
        }
        assert_eq!(last, outcome::REFUSED);
    });
}

#[test]
fn what_was_written_through_the_guests_tables_is_read_there() {
    with_server(|ask| {
        let write = [PAGED, CR3, 0xff8, 8, 2, 0x1122_3344_5566_7788];
        assert_eq!(ask(mmu::WRITE_VIRTUAL, &write), (outcome::DONE, vec![]));
        assert_eq!(
            ask(mmu::READ_PHYSICAL, &[0x3ff8, 4]),
            (0, vec![0x5566_7788])
        );
        assert_eq!(
            ask(mmu::READ_VIRTUAL, &[PAGED, CR3, 0xffc, 4, 0]),
            (outcome::DONE, vec![0x1122_3344])
        );
        // The write left A and D, the later read nothing more.
        assert_eq!(ask(mmu::READ_PHYSICAL, &[0x2000, 4]), (0, vec![0x3063]));
    });
}

#[test]
fn a_write_is_checked_as_one_whatever_it_is_called() {
    with_server(|ask| {
        let write = [PAGED, CR3, 0x1000, 1, 0, 0];
        assert_eq!(
            ask(mmu::WRITE_VIRTUAL, &write),
            (outcome::INJECT, vec![3, 0x1000])
        );
        assert_eq!(
            ask(mmu::WRITE_VIRTUAL, &[PAGED, CR3, 0x2000, 1, 2, 0]),
            (outcome::DEVICE, vec![0xfee0_0000, 2])
        );
    });
}

#[test]
fn physical_accesses_stay_inside_memory() {
    with_server(|ask| {
        let end = MEMORY as u64;
        assert_eq!(ask(mmu::WRITE_PHYSICAL, &[end - 8, 8, 7]), (0, vec![]));
        assert_eq!(ask(mmu::READ_PHYSICAL, &[end - 8, 8]), (0, vec![7]));
        for gpa in [end - 7, end, !0] {
            assert_eq!(ask(mmu::READ_PHYSICAL, &[gpa, 8]), (1, vec![]));
            assert_eq!(ask(mmu::WRITE_PHYSICAL, &[gpa, 8, 7]), (1, vec![]));
        }
    });
}

#[test]
fn a_load_the_processor_would_refuse_is_answered_with_one() {
    with_server(|ask| {
        assert_eq!(ask(mmu::LOAD, &[PROTECTED, 0, load::RESET]), (0, vec![]));
        let pae = PAGED | Mode::PAE as u64;
        // The PDPTE at 0x2000 has bits 1 and up set.
        assert_eq!(ask(mmu::LOAD, &[pae, 0x2000, load::CR3]), (1, vec![]));
        assert_eq!(ask(mmu::LOAD, &[pae, 0x5000, load::CR3]), (0, vec![]));
        assert_eq!(ask(mmu::ENSURE_ROOT, &[pae, 0x5000]), (0, vec![]));
        assert_eq!(ask(mmu::INVLPG, &[pae, 0, 0x5000]), (0, vec![]));
    });
}

#[test]
fn requests_without_sense_are_refused() {
    with_server(|ask| {
        let refused = (outcome::REFUSED, vec![]);
        assert_eq!(ask(0, &[]), refused);
        assert_eq!(ask(1000, &[0; 4]), refused);
        assert_eq!(ask(mmu::FAULT, &[0; 2]), refused);
        assert_eq!(ask(mmu::LOAD, &[0, 0, 99]), refused);
        assert_eq!(ask(mmu::READ_PHYSICAL, &[0, 513]), refused);
        assert_eq!(
            ask(mmu::WRITE_PHYSICAL, &[0, 9, 0]),
            refused,
            "data missing"
        );
        assert_eq!(
            ask(mmu::READ_VIRTUAL, &[PAGED, CR3, 0xffd, 4, 0]),
            refused,
            "crosses a page"
        );
        let long = PAGED | u64::from(Mode::PAE | Mode::LMA);
        assert_eq!(
            ask(mmu::READ_VIRTUAL, &[long, CR3, 1 << 47, 1, 0]),
            refused,
            "not canonical"
        );
    });
}

#[test]
fn hostile_words_are_answered_and_never_panic() {
    with_server(|ask| {
        let mut state = 0x1234_5678_9abc_def1u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let value = state.wrapping_mul(0x2545_f491_4f6c_dd1d);
            if value >> 62 == 0 {
                value & 0xfff
            } else {
                value >> (value & 63)
            }
        };
        for _ in 0..50_000 {
            let words: Vec<u64> = (0..next() % 120).map(|_| next()).collect();
            let (label, _) = ask(next() % 12, &words);
            assert!(label <= outcome::REFUSED);
        }
    });
}

/// A shadow MMU that fills everything, and finds something wrong with the second fault.
struct Suspicious {
    memory: &'static Ram,
    faults: u32,
}

impl ShadowMmu for Suspicious {
    type Memory = &'static Ram;
    type Finding = &'static str;

    fn memory(&self) -> &&'static Ram {
        &self.memory
    }
    fn counters(&self) -> Counters {
        Counters::default()
    }
    fn fault(&mut self, _: &Fault) -> Result<Outcome, Error> {
        self.faults += 1;
        Ok(Outcome::Filled)
    }
    fn translate(&mut self, _: &Fault) -> Result<Target, Error> {
        Ok(Target::Retry)
    }
    fn invlpg(&mut self, _: Mode, _: u64, _: Gva) -> Result<(), Error> {
        Ok(())
    }
    fn load(&mut self, _: Mode, _: u64, _: LoadReason) -> Result<Load, Error> {
        Ok(Load::Done)
    }
    fn ensure_root(&mut self, _: Mode, _: u64) -> Result<(), Error> {
        Ok(())
    }
    fn judged(&self) -> u64 {
        u64::from(self.faults)
    }
    fn take_finding(&mut self) -> Option<&'static str> {
        (self.faults == 2).then_some("a broken rule")
    }
}

#[test]
fn after_a_finding_everything_is_refused_but_the_counters() {
    let mut server = Server::new(Suspicious {
        memory: Box::leak(Box::new(Ram::new())),
        faults: 0,
    });
    let mut ask = |label, words: &[u64]| {
        let mut message = Message::new();
        message.words[..words.len()].copy_from_slice(words);
        (message.label, message.length) = (label, words.len());
        let finding = server.answer(&mut message);
        (message.label, finding, message.words[stats::FINDINGS])
    };
    let fault = paging(0, PAGED, 0, CR3);
    assert_eq!(ask(mmu::FAULT, &fault), (outcome::DONE, None, 0));
    let found = Some("a broken rule");
    assert_eq!(ask(mmu::FAULT, &fault), (outcome::REFUSED, found, 0));
    for label in [mmu::FAULT, mmu::LOAD, mmu::READ_PHYSICAL, mmu::ENSURE_ROOT] {
        assert_eq!(ask(label, &[0; 3]), (outcome::REFUSED, None, 0));
    }
    assert_eq!(ask(mmu::STATS, &[]), (0, None, 1));
}
