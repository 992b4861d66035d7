//! A guest of a few pages, with a pool and a vCPU that the attacks play server for.

use super::{
    kit::{self, Kit, Shown},
    priority,
    report::{Check, holds},
};
use exit_abi::{Exit, Mask, Register};
use sel4::{
    CapRights, Result, VmAttributes, cap, cap_type,
    shadow_pool::{Entry, Fill, Link, Page},
    sys::label::fill,
};
use words::x86::{cr0, cr4, efer};
use words::{Gfn, Gpa};

/// Pages of guest memory, from guest-physical 0.
pub(crate) const PAGES: u64 = 16;
/// The one of them the guest may not write.
pub(crate) const READ_ONLY: u64 = PAGES - 1;
/// Guest frame number of the one large page.
pub(crate) const LARGE: u64 = 512;
/// log2 of the pool's pages.
const POOL_BITS: usize = 6;
const EXIT_BADGE: u64 = 7;
/// Pauses that a guest may take for a few instructions, on a slow machine.
const PATIENCE: u64 = 1000;
/// All the rights a leaf can have.
pub(crate) const ALL: u64 = fill::WRITE | fill::USER | fill::EXECUTE;

/// The guest.
pub(crate) struct Guest {
    pub(crate) space: cap::GuestPml4,
    pub(crate) pool: cap::ShadowPool,
    pub(crate) vcpu: cap::VCpu,
    pub(crate) tcb: cap::Tcb,
    exits: cap::Endpoint,
    reply: cap::Reply,
    /// Guest memory as this program sees it.
    pub(crate) memory: [Shown; PAGES as usize],
    /// The capabilities mapped in the guest-physical space.
    pub(crate) frames: [cap::Granule; PAGES as usize],
}

/// What came of letting the guest run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// It exited.
    Exit(Exit),
    /// It ran until this program's time came again, and was stopped.
    Ran,
    /// A message that is no exit.
    Nonsense(u64),
}

impl Guest {
    pub(crate) fn new(kit: &mut Kit) -> Result<Self> {
        let root_kit::Guest { pool, vcpu, space } = kit.guest(POOL_BITS)?;
        let mut memory = [kit.show()?; PAGES as usize];
        let mut frames = [memory[0].frame; PAGES as usize];
        for n in 0..PAGES {
            let shown = if n == 0 { memory[0] } else { kit.show()? };
            let frame = kit.copy(shown.frame)?;
            let rights = if n == READ_ONLY {
                CapRights::read_only()
            } else {
                CapRights::read_write()
            };
            frame.frame_map_guest(space, Gpa::new(n << 12), rights, VmAttributes::DEFAULT)?;
            memory[n as usize] = shown;
            frames[n as usize] = frame;
        }
        let large = kit.make::<cap_type::LargePage>()?;
        let attributes = VmAttributes::DEFAULT;
        large.frame_map_guest(space, Gpa::new(LARGE << 12), CapRights::all(), attributes)?;
        let exits = kit.make::<cap_type::Endpoint>()?;
        let badged = kit.mint(exits, CapRights::all(), EXIT_BADGE)?;
        let time = kit.time(5000, 5000)?;
        let tcb = kit.tcb(priority::GUEST, time, badged)?;
        vcpu.bind_tcb(tcb)?;
        Ok(Self {
            space,
            pool,
            vcpu,
            tcb,
            exits,
            reply: kit.make()?,
            memory,
            frames,
        })
    }

    /// Long mode at an address, as after nothing happened.
    pub(crate) fn long_mode_at(&self, rip: u64) -> Result<()> {
        let mut mask = Mask::default();
        let code = 0xa9b << 16 | 0x8 | 0xffff_ffff << 32;
        let data = 0xc93 << 16 | 0x10 | 0xffff_ffff << 32;
        let mut values = [0; 64];
        let pairs = [
            (Register::Rip, rip),
            (Register::Rflags, 2),
            (Register::Cr0, cr0::PE | cr0::PG | cr0::NE | cr0::ET),
            (Register::Cr3, 0),
            (Register::Cr4, cr4::PAE),
            (Register::Efer, efer::LME | efer::LMA),
            (Register::Dr6, 0xffff_0ff0),
            (Register::Dr7, 0x400),
            (Register::Event, 0),
            (Register::InterruptShadow, 0),
            (Register::Window, 0),
            (Register::CsBase, 0),
            (Register::SsBase, 0),
            (Register::DsBase, 0),
            (Register::Es, data),
            (Register::Cs, code),
            (Register::Ss, data),
            (Register::Ds, data),
            (Register::Fs, data),
            (Register::Gs, data),
            (Register::Ldtr, 0x82 << 16 | 0xffff << 32),
            (Register::Tr, 0x8b << 16 | 0xffff << 32),
            (Register::IdtrBase, 0),
            (Register::IdtrLimit, 0),
            (Register::Cpl, 0),
            (Register::Cr8, 0),
        ];
        for (value, (register, new)) in values.iter_mut().zip(pairs) {
            mask = mask.with(register);
            *value = new;
        }
        self.vcpu.write_registers(mask, &values[..pairs.len()])
    }

    /// Four levels: pages 0 to 3, which show the guest its memory at its guest-physical address.
    pub(crate) fn build_long(&self) -> Result<()> {
        for (page, level) in [(0, 4), (1, 3), (2, 2), (3, 1)] {
            self.pool.reset(page, level)?;
        }
        self.pool.link(&[
            link(place(0, 0), 1),
            link(place(1, 0), 2),
            link(place(2, 0), 3),
        ])?;
        self.fill_memory(3)
    }

    /// A PAE root: page 8, directories 9 to 12, table 13.
    pub(crate) fn build_pae(&self) -> Result<()> {
        for page in 9..13 {
            self.pool.reset(page, 2)?;
        }
        self.pool.reset(13, 1)?;
        self.pool.link(&[link(place(9, 0), 13)])?;
        self.pool.reset_pae_root(8, [9, 10, 11, 12])?;
        self.fill_memory(13)
    }

    fn fill_memory(&self, table: Page) -> Result<()> {
        for n in 0..PAGES {
            self.pool.fill(&[leaf(place(table, n as u16), n, ALL)])?;
        }
        Ok(())
    }

    /// Lets it run.
    pub(crate) fn run(&self) -> Result<Outcome> {
        self.vcpu.run()?;
        self.result(1)
    }

    /// Lets it run until it exits, which it should soon.
    pub(crate) fn run_to_exit(&self) -> Result<Outcome> {
        self.vcpu.run()?;
        self.result(PATIENCE)
    }

    /// Answers its exit with registers, and lets it run.
    pub(crate) fn answer(&self, mask: Mask, values: &[u64]) -> Result<Outcome> {
        self.answer_with(mask.0, values, 1 + values.len());
        self.result(1)
    }

    /// Answers its exit with words that may make no sense, and lets it run until it exits.
    pub(crate) fn answer_nonsense(&self, mask: u64, length: usize) -> Result<Outcome> {
        self.answer_with(mask, &[0; 64], length);
        self.result(PATIENCE)
    }

    fn answer_with(&self, mask: u64, values: &[u64], length: usize) {
        sel4::with_ipc_buffer_mut(|buffer| {
            let words = buffer.msg_regs_mut();
            words[0] = mask;
            words[1..=values.len()].copy_from_slice(values);
        });
        self.reply.send(sel4::MessageInfo::new(0, 0, 0, length));
    }

    fn result(&self, pauses: u64) -> Result<Outcome> {
        let message = (0..pauses).find_map(|_| {
            kit::pause();
            let message = self.exits.nb_recv_with_mrs(self.reply);
            (message.badge != 0).then_some(message)
        });
        let Some(message) = message else {
            self.tcb.tcb_suspend()?;
            return Ok(Outcome::Ran);
        };
        let exit = Exit::decode(message.info.label(), message.msg);
        Ok(
            exit.map_or(Outcome::Nonsense(message.info.label()), |(exit, _)| {
                Outcome::Exit(exit)
            }),
        )
    }

    /// Holds if the guest exits for want of a root.
    pub(crate) fn has_no_root(&self) -> Check {
        let outcome = self.run_to_exit()?;
        holds(
            matches!(outcome, Outcome::Exit(Exit::NoRoot { .. })),
            "the guest ran without a root",
        )
    }
}

/// A slot of a page.
pub(crate) const fn place(page: Page, slot: u16) -> Entry {
    Entry { page, slot }
}

/// A link to make.
pub(crate) const fn link(parent: Entry, child: Page) -> Link {
    Link { parent, child }
}

/// A leaf to make.
pub(crate) const fn leaf(entry: Entry, frame: u64, attributes: u64) -> Fill {
    Fill {
        entry,
        frame: Gfn::new(frame),
        attributes,
    }
}
