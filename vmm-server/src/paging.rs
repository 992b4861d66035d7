//! Paging exits: one call to mmu-server, and what its answer means for the guest.

use crate::bus::Hole;
use crate::memory::{VIEW, View};
use crate::mmio::instruction;
use crate::platform::{Outcome, Platform};
use crate::trap::Trap;
use crate::vcpu::Vcpu;
use exit_abi::{Exit, Mask, Mode, Register, Status};
use protocol::system::Paging;
use vcpu::{Event, Resume};
use words::Gva;
use words::addr::PAGE_SIZE;
use words::x86::pf;

impl Vcpu {
    /// Under nested paging the guest writes CR3 as it likes: what it holds now is what its tables are read by.
    pub(crate) fn refresh(&mut self, platform: &mut impl Platform) {
        if self.paging == Paging::Nested {
            let mask = Mask::default().with(Register::Cr3);
            self.control.cr3 = platform.read_registers(mask).get(Register::Cr3);
        }
    }

    /// A page fault against the shadow.
    pub(crate) fn paging(
        &mut self,
        platform: &mut impl Platform,
        exit: &Exit,
        status: Status,
        event: u64,
        resume: &mut Resume,
    ) -> Result<(), Trap> {
        if let Exit::Paging {
            code,
            mode,
            gva,
            cr3,
            event: 0,
        } = *exit
            && is_data(code, mode)
            && let Some(hole) = self
                .devices
                .find(mode, cr3, gva, u32::from(code) & pf::W != 0)
        {
            self.hole = Some(hole);
            return self.emulate_access(platform, resume);
        }
        let [w0, w1, w2, _] = exit.encode(status);
        match platform.fault([w0, w1, w2]) {
            Outcome::Done => {
                // The fault was the shadow's, not the guest's: what was being delivered starts over.
                if let Some(event) = Event::from_word(event) {
                    resume.inject(event);
                }
                Ok(())
            }
            Outcome::Inject { code, address } => Err(Trap::PageFault { code, address }),
            Outcome::Device { gpa, access } => {
                let hole = Hole::new(Gva::new(w1), gpa, access);
                if let Exit::Paging { code, mode, .. } = *exit
                    && is_data(code, mode)
                {
                    self.devices.keep(mode, w2, hole);
                }
                self.hole = Some(hole);
                self.no_memory(platform, access, event, resume)
            }
            Outcome::Refused => Err(Trap::MMU_REFUSED),
        }
    }

    /// The guest touched an address that has no memory; under nested paging the processor says so itself.
    pub(crate) fn no_memory(
        &mut self,
        platform: &mut impl Platform,
        access: u32,
        event: u64,
        resume: &mut Resume,
    ) -> Result<(), Trap> {
        if event != 0 {
            // A descriptor read as all ones has no valid type.
            return Err(Trap::GENERAL_PROTECTION);
        }
        if access & pf::I != 0 {
            // FF FF is no instruction.
            return Err(Trap::UNDEFINED);
        }
        self.emulate_access(platform, resume)
    }

    /// The kernel could not read the instruction at `rip`: has mmu-server fill it into the shadow, after which the guest
    /// executes it again.
    pub(crate) fn refetch(&mut self, platform: &mut impl Platform, rip: u64) -> Result<(), Trap> {
        let mask = VIEW.iter().fold(Mask::default(), |mask, &r| mask.with(r));
        let view = View::new(&self.control, &platform.read_registers(mask));
        if self.paging == Paging::Nested {
            // The processor came here by a translation that the guest's tables no longer have: the guest gets the fault
            // that it would have met, or tries again.
            return instruction(platform, &view, rip).map(drop);
        }
        let first = view.code_address(rip);
        match fault_in(platform, &view, first) {
            Outcome::Done => {}
            Outcome::Inject { code, address } => return Err(Trap::PageFault { code, address }),
            Outcome::Device { .. } => return Err(Trap::UNDEFINED),
            Outcome::Refused => return Err(Trap::MMU_REFUSED),
        }
        if first.page_offset() + insn::MAX_LENGTH as u64 > PAGE_SIZE {
            // Perhaps the instruction ends before; if it does not, its own fetch will say what is wrong.
            fault_in(platform, &view, first.page().wrapping_add(PAGE_SIZE));
        }
        Ok(())
    }
}

/// Whether a fault was met by an instruction's own data access, not by a fetch or by the processor's access to a table.
const fn is_data(code: u16, mode: Mode) -> bool {
    let code = code as u32;
    code & pf::I == 0 && (code & pf::U != 0) == (mode.cpl() == 3)
}

fn fault_in(platform: &mut impl Platform, view: &View, gva: Gva) -> Outcome {
    let user = if view.mode.cpl() == 3 { pf::U } else { 0 };
    let exit = Exit::Paging {
        code: (pf::I | user) as u16,
        mode: Mode::from_bits(view.mode.bits()),
        gva,
        cr3: view.cr3,
        event: 0,
    };
    let [w0, w1, w2, _] = exit.encode(Status::default());
    platform.fault([w0, w1, w2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Asked, Fake};
    use crate::{Stopped, Verdict};
    use exit_abi::CrInstruction;
    use protocol::system::Entry;
    use words::Gpa;
    use words::x86::cr0;

    const LINUX: Entry = Entry::Linux64 {
        rip: 0x10_0200,
        zero_page: 0x7000,
        cr3: 0x9000,
        gdt: 0x8000,
    };
    const DOUBLE_FAULT: u64 = 0x8000_0b08;
    const UNDEFINED: u64 = 0x8000_0306;
    const LONG_CODE: u64 = 0xffff_ffff_0a9b_0010;
    const CR3: u64 = 0x5_5000;

    fn nested() -> (Vcpu, Fake) {
        let fake = Fake::new()
            .with(Register::Cs, LONG_CODE)
            .with(Register::Cr3, CR3)
            .with(Register::Rip, 0x1000)
            .with(Register::Rbx, 0xfee0_0020);
        let mut vcpu = Vcpu::new(&LINUX, 1000, 64 << 20, &fake).0;
        vcpu.without_ticks();
        vcpu.set_paging(Paging::Nested);
        (vcpu, fake)
    }

    fn answer(vcpu: &mut Vcpu, fake: &mut Fake, exit: &Exit) -> Result<Resume, Stopped> {
        let mut resume = Resume::new(Status::default());
        match vcpu.exit(fake, exit, Status::default(), &mut resume) {
            Verdict::Stop(stopped) => Err(stopped),
            _ => Ok(resume),
        }
    }

    fn set(resume: &Resume, register: Register) -> Option<u64> {
        resume
            .registers()
            .has(register)
            .then(|| resume.registers().get(register))
    }

    fn hole(code: u32, event: u64) -> Exit {
        Exit::NestedPaging {
            code,
            walk: false,
            gpa: Gpa::new(0x3fff_f000),
            rip: 0x1000,
            event,
        }
    }

    #[test]
    fn a_hole_is_emulated_with_the_cr3_that_the_guest_loaded_itself() {
        let (mut vcpu, mut fake) = nested();
        // mov eax, [rbx]
        fake.code = vec![0x8b, 0x03];
        fake.memory.insert(0xfee0_0020, 0x14);
        let resume = answer(&mut vcpu, &mut fake, &hole(pf::U, 0)).expect("it goes on");
        assert_eq!(set(&resume, Register::Rax), Some(0x14));
        assert_eq!(set(&resume, Register::Rip), Some(0x1002));
        assert_eq!(vcpu.control().cr3, CR3);
        assert!(
            !fake
                .asked
                .iter()
                .any(|asked| matches!(asked, Asked::Fault(_)))
        );
    }

    #[test]
    fn a_jump_into_a_hole_is_an_undefined_instruction() {
        let (mut vcpu, mut fake) = nested();
        let resume = answer(&mut vcpu, &mut fake, &hole(pf::U | pf::I, 0)).expect("it goes on");
        assert_eq!(set(&resume, Register::Event), Some(UNDEFINED));
    }

    #[test]
    fn a_hole_met_while_an_exception_is_delivered_is_a_second_one() {
        let (mut vcpu, mut fake) = nested();
        let page_fault = 0x8000_0b0e;
        let resume = answer(&mut vcpu, &mut fake, &hole(pf::U, page_fault)).expect("it goes on");
        assert_eq!(set(&resume, Register::Event), Some(DOUBLE_FAULT));
        let stopped = answer(&mut vcpu, &mut fake, &hole(pf::U, DOUBLE_FAULT));
        assert!(stopped.is_err());
    }

    #[test]
    fn mmu_server_hears_of_no_control_register() {
        let (mut vcpu, mut fake) = nested();
        let value = vcpu.control().cr0 ^ cr0::WP;
        let write = Exit::Cr {
            len: 3,
            number: 0,
            gpr: 0,
            instruction: CrInstruction::MovTo,
            rip: 0x1000,
            value,
            mode: Mode::from_bits(0),
        };
        let resume = answer(&mut vcpu, &mut fake, &write).expect("it goes on");
        assert_eq!(vcpu.control().cr0, value);
        let now = Asked::WroteRegisters(Register::Cr0.bit());
        assert!(set(&resume, Register::Cr0) == Some(value) || fake.asked.contains(&now));
        let asks = |asked: &Asked| matches!(asked, Asked::Load(..) | Asked::EnsureRoot);
        assert!(!fake.asked.iter().any(asks));
    }

    #[test]
    fn an_instruction_that_the_guests_tables_no_longer_show_is_read_again_or_faults() {
        let (mut vcpu, mut fake) = nested();
        let unread = Exit::Cpuid {
            len: 0,
            rip: 0x1000,
            leaf: 0,
            subleaf: 0,
        };
        fake.memory.extend([(0x1000, 0x0f), (0x1001, 0xa2)]);
        let resume = answer(&mut vcpu, &mut fake, &unread).expect("it goes on");
        assert_eq!(set(&resume, Register::Rip), None, "the guest tries again");
        assert!(matches!(fake.asked[..], [Asked::Read(0x1000, _, pf::I)]));
        let inject = Outcome::Inject {
            code: pf::I,
            address: 0x1000,
        };
        fake.odd_pages.insert(0x1000, inject);
        let resume = answer(&mut vcpu, &mut fake, &unread).expect("it goes on");
        assert_eq!(set(&resume, Register::Cr2), Some(0x1000));
    }
}
