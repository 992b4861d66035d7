//! Paging exits: one call to mmu-server, and what its answer means for the guest.

use crate::memory::{VIEW, View};
use crate::platform::{Outcome, Platform};
use crate::trap::Trap;
use crate::vcpu::Vcpu;
use exit_abi::{Exit, Mask, Mode, Status};
use vcpu::{Event, Resume};
use words::Gva;
use words::addr::PAGE_SIZE;
use words::x86::pf;

impl Vcpu {
    /// A page fault against the shadow.
    pub(crate) fn paging(
        &mut self,
        platform: &mut impl Platform,
        exit: &Exit,
        status: Status,
        event: u64,
        resume: &mut Resume,
    ) -> Result<(), Trap> {
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
            Outcome::Device { access, .. } => self.no_memory(platform, access, event, resume),
            Outcome::Refused => Err(Trap::MMU_REFUSED),
        }
    }

    /// The guest touched an address that has no memory.
    fn no_memory(
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

    /// The kernel could not read the instruction at `rip` through the shadow: has mmu-server fill it in, after which the
    /// guest executes it again.
    pub(crate) fn refetch(&mut self, platform: &mut impl Platform, rip: u64) -> Result<(), Trap> {
        let mask = VIEW.iter().fold(Mask::default(), |mask, &r| mask.with(r));
        let view = View::new(&self.control, &platform.read_registers(mask));
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
