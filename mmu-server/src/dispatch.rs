//! One request in, one reply out: the table of `protocol::mmu`.

use crate::message::Message;
use crate::ram::GuestRam;
use crate::shadow_mmu::ShadowMmu;
use exit_abi::{Exit, ExitClass, Mode};
use protocol::mmu::{self, MAX_DATA, load, outcome, stats};
use shadow::{Access, Error, Fault, Load, LoadReason, Outcome, Target};
use words::addr::PAGE_SIZE;
use words::x86::pf;
use words::{Gpa, Gva};

/// Reply label of what was done.
const DONE: u64 = 0;
/// Reply label of a physical access to what is not all memory.
const NOT_MEMORY: u64 = 1;
/// Reply label of a load that raises #GP(0).
const GENERAL_PROTECTION: u64 = 1;
/// Times a translation is tried while the guest's tables change. Each touches fewer entries than half of what a request
/// may.
const TRANSLATIONS: usize = 2;

const _: () = assert!(mmu::MIN_POOL_PAGES == shadow::MIN_PAGES as u64);

/// A linear access on the guest's behalf, checked to lie in one page.
struct Linear {
    fault: Fault,
    length: usize,
}

impl Linear {
    /// From mode, CR3, address, length and access bits.
    fn decode([mode, cr3, gva, length, code]: [u64; 5]) -> Option<Self> {
        let gva = Gva::new(gva);
        let length = data_length(length)?;
        if gva.page_offset() + length as u64 > PAGE_SIZE {
            return None;
        }
        let access = Access::from_code(code as u32);
        Some(Self {
            fault: Fault {
                mode: Mode::from_bits(mode as u32),
                cr3,
                gva,
                access,
            },
            length,
        })
    }
}

fn data_length(length: u64) -> Option<usize> {
    usize::try_from(length)
        .ok()
        .filter(|length| *length <= MAX_DATA)
}

/// The server's state: the engine with all it works on.
#[derive(Debug)]
pub struct Server<E> {
    engine: E,
    /// Broken rules found. One is enough to answer nothing but [`mmu::STATS`] any more, so that the VM stops.
    findings: u64,
}

impl<E: ShadowMmu> Server<E> {
    /// A server around an engine.
    pub const fn new(engine: E) -> Self {
        Self {
            engine,
            findings: 0,
        }
    }

    /// Answers a request in place. What comes back is a broken rule that was found at it.
    pub fn answer(&mut self, message: &mut Message) -> Option<E::Finding> {
        if message.label == mmu::STATS {
            self.dispatch(message);
            return None;
        }
        if self.findings != 0 {
            message.refuse();
            return None;
        }
        self.dispatch(message);
        let finding = self.engine.take_finding();
        if finding.is_some() {
            self.findings += 1;
            message.refuse();
        }
        finding
    }

    fn dispatch(&mut self, message: &mut Message) {
        let answered = match message.label {
            mmu::FAULT => self.fault(message),
            mmu::INVLPG => self.invlpg(message),
            mmu::LOAD => self.load(message),
            mmu::ENSURE_ROOT => self.ensure_root(message),
            mmu::READ_PHYSICAL => self.read_physical(message),
            mmu::WRITE_PHYSICAL => self.write_physical(message),
            mmu::READ_VIRTUAL => self.read_virtual(message),
            mmu::WRITE_VIRTUAL => self.write_virtual(message),
            mmu::STATS => self.stats(message),
            _ => None,
        };
        if answered.is_none() {
            message.refuse();
        }
    }

    // Each of these answers `None` for a request that makes no sense.

    fn fault(&mut self, message: &mut Message) -> Option<()> {
        let [w0, w1, w2] = message.first()?;
        let (exit, _) = Exit::decode(ExitClass::Paging as u64, [w0, w1, w2, 0])?;
        let Exit::Paging {
            code,
            mode,
            gva,
            cr3,
            ..
        } = exit
        else {
            return None;
        };
        let access = Access::from_code(u32::from(code));
        let outcome = self.engine.fault(&Fault {
            mode,
            cr3,
            gva,
            access,
        });
        if outcome == Err(Error::Endless) {
            log::error!(
                "the guest's instruction needs the page of {gva} both as user and to write past its R/W bit (CR0.WP is \
                 clear): it would never end"
            );
        }
        match outcome.ok()? {
            Outcome::Filled | Outcome::Retry => message.reply(outcome::DONE, []),
            Outcome::Inject { code } => {
                message.reply(outcome::INJECT, [u64::from(code), gva.bits()])
            }
            Outcome::Device { gpa, access } => {
                message.reply(outcome::DEVICE, [gpa.bits(), u64::from(access.code())]);
            }
        }
        Some(())
    }

    fn invlpg(&mut self, message: &mut Message) -> Option<()> {
        let [mode, gva, cr3] = message.first()?;
        self.engine
            .invlpg(Mode::from_bits(mode as u32), cr3, Gva::new(gva))
            .ok()?;
        message.reply(DONE, []);
        Some(())
    }

    fn load(&mut self, message: &mut Message) -> Option<()> {
        let [mode, cr3, reason] = message.first()?;
        let reason = match reason {
            load::CR3 => LoadReason::Cr3,
            load::CR0 => LoadReason::Cr0,
            load::CR4 => LoadReason::Cr4,
            load::EFER => LoadReason::Efer,
            load::RESET => LoadReason::Reset,
            _ => return None,
        };
        let label = match self
            .engine
            .load(Mode::from_bits(mode as u32), cr3, reason)
            .ok()?
        {
            Load::Done => DONE,
            Load::GeneralProtection => GENERAL_PROTECTION,
        };
        message.reply(label, []);
        Some(())
    }

    fn ensure_root(&mut self, message: &mut Message) -> Option<()> {
        let [mode, cr3] = message.first()?;
        self.engine
            .ensure_root(Mode::from_bits(mode as u32), cr3)
            .ok()?;
        message.reply(DONE, []);
        Some(())
    }

    fn read_physical(&mut self, message: &mut Message) -> Option<()> {
        let [gpa, length] = message.first()?;
        let mut buffer = [0; MAX_DATA];
        let data = &mut buffer[..data_length(length)?];
        if self.engine.memory().read(Gpa::new(gpa), data) {
            message.reply_data(DONE, data);
        } else {
            message.reply(NOT_MEMORY, []);
        }
        Some(())
    }

    fn write_physical(&mut self, message: &mut Message) -> Option<()> {
        let [gpa, length] = message.first()?;
        let mut buffer = [0; MAX_DATA];
        let data = &mut buffer[..data_length(length)?];
        message.data(2, data)?;
        let written = self.engine.memory().write(Gpa::new(gpa), data);
        message.reply(if written { DONE } else { NOT_MEMORY }, []);
        Some(())
    }

    fn read_virtual(&mut self, message: &mut Message) -> Option<()> {
        let linear = Linear::decode(message.first()?)?;
        let mut buffer = [0; MAX_DATA];
        let data = &mut buffer[..linear.length];
        if let Some(gpa) = self.locate(&linear, message)? {
            if self.engine.memory().read(gpa, data) {
                message.reply_data(outcome::DONE, data);
            } else {
                Self::no_memory(&linear, gpa, message);
            }
        }
        Some(())
    }

    fn write_virtual(&mut self, message: &mut Message) -> Option<()> {
        let [mode, cr3, gva, length, code] = message.first()?;
        // Whatever the caller calls it, it writes.
        let linear = Linear::decode([mode, cr3, gva, length, code | u64::from(pf::W)])?;
        let mut buffer = [0; MAX_DATA];
        let data = &mut buffer[..linear.length];
        message.data(5, data)?;
        if let Some(gpa) = self.locate(&linear, message)? {
            if self.engine.memory().write(gpa, data) {
                message.reply(outcome::DONE, []);
            } else {
                Self::no_memory(&linear, gpa, message);
            }
        }
        Some(())
    }

    /// Where a linear access leads. `Some(None)`: to the guest's own fault, and the reply says so.
    fn locate(&mut self, linear: &Linear, message: &mut Message) -> Option<Option<Gpa>> {
        for _ in 0..TRANSLATIONS {
            match self.engine.translate(&linear.fault) {
                Ok(Target::At(gpa)) => return Some(Some(gpa)),
                Ok(Target::Inject { code }) => {
                    message.reply(outcome::INJECT, [u64::from(code), linear.fault.gva.bits()]);
                    return Some(None);
                }
                Ok(Target::Retry) => {}
                Err(_) => return None,
            }
        }
        None
    }

    fn no_memory(linear: &Linear, gpa: Gpa, message: &mut Message) {
        message.reply(
            outcome::DEVICE,
            [gpa.bits(), u64::from(linear.fault.access.code())],
        );
    }

    fn stats(&mut self, message: &mut Message) -> Option<()> {
        let counters = self.engine.counters();
        let mut words = [0; stats::COUNT];
        words[stats::FILLS] = counters.fills;
        words[stats::INJECTED] = counters.injected;
        words[stats::DEVICE] = counters.device;
        words[stats::FLUSH_ADDRESS] = counters.flush_address;
        words[stats::FLUSH_ALL] = counters.flush_all;
        words[stats::EVICTIONS] = counters.evictions;
        words[stats::MAX_TOUCHED] = counters.max_touched;
        words[stats::PAGES_PEAK] = counters.pages_peak;
        words[stats::REQUESTS] = counters.requests;
        words[stats::MAX_TABLES] = counters.max_tables;
        words[stats::MAX_REPEATS] = counters.max_repeats;
        words[stats::ORACLE_CHECKS] = self.engine.judged();
        words[stats::FINDINGS] = self.findings;
        message.reply(DONE, words);
        Some(())
    }
}
