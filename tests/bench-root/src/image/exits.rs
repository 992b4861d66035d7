//! A guest's exit to its handler, and the answer that lets it run again.

use super::{
    faults::{ANSWER, Scene},
    kit::Kit,
    priority,
};
use core::sync::atomic::Ordering::Relaxed;
use exit_abi::{Mask, Register};
use sel4::{
    CapRights, Result, VmAttributes, cap,
    init_thread::slot,
    shadow_pool::{Entry, Fill, Link},
    sys::label::fill,
};
use words::x86::{cr0, cr4, efer};
use words::{Gfn, Gpa};

const POOL_BITS: usize = 6;
/// `cpuid; jmp` to it.
const PROGRAM: [u8; 4] = [0x0f, 0xa2, 0xeb, 0xfc];

pub(crate) fn measure(kit: &mut Kit) -> Result<()> {
    let here = slot::VSPACE.cap();
    let there = kit.space()?;
    // The answer sets RIP: to where the instruction is.
    let rip = Mask::default().with(Register::Rip);
    for (name, space, words) in [("cpuid-exit-same-space", here, 2), ("cpuid-exit", there, 2)] {
        let scene = Scene::new(kit, space, words, true)?;
        let guest = guest(kit, scene.endpoint)?;
        ANSWER[0].store(rip.0, Relaxed);
        scene.finish(name, guest)?;
    }
    Ok(())
}

fn guest(kit: &mut Kit, exits: cap::Endpoint) -> Result<cap::Tcb> {
    let root_kit::Guest { pool, vcpu, space } = kit.guest(POOL_BITS)?;
    let shown = kit.show()?;
    shown.code(&PROGRAM);
    let frame = kit.copy(shown.frame)?;
    let (rights, attributes) = (CapRights::read_write(), VmAttributes::DEFAULT);
    frame.frame_map_guest(space, Gpa::new(0), rights, attributes)?;
    for (page, level) in [(0, 4), (1, 3), (2, 2), (3, 1)] {
        pool.reset(page, level)?;
    }
    let place = |page| Entry { page, slot: 0 };
    for page in 0..3 {
        pool.link(&[Link {
            parent: place(page),
            child: page + 1,
        }])?;
    }
    pool.fill(&[Fill {
        entry: place(3),
        frame: Gfn::new(0),
        attributes: fill::WRITE | fill::USER | fill::EXECUTE,
    }])?;
    start_state(vcpu)?;
    pool.set_root(0, vcpu)?;
    let time = kit.time()?;
    let tcb = kit.tcb(priority::BELOW, time, exits)?;
    vcpu.bind_tcb(tcb)?;
    vcpu.run()?;
    Ok(tcb)
}

/// Long mode, at address 0.
fn start_state(vcpu: cap::VCpu) -> Result<()> {
    let code = 0xa9b << 16 | 0x8 | 0xffff_ffff << 32;
    let data = 0xc93 << 16 | 0x10 | 0xffff_ffff << 32;
    let pairs = [
        (Register::Rip, 0),
        (Register::Rflags, 2),
        (Register::Cr0, cr0::PE | cr0::PG | cr0::NE | cr0::ET),
        (Register::Cr3, 0),
        (Register::Cr4, cr4::PAE),
        (Register::Efer, efer::LME | efer::LMA),
        (Register::CsBase, 0),
        (Register::Es, data),
        (Register::Cs, code),
        (Register::Ss, data),
        (Register::Ds, data),
        (Register::Cpl, 0),
    ];
    // One register a call: a mask has its values in the registers' own order.
    for (register, value) in pairs {
        vcpu.write_registers(Mask::default().with(register), &[value])?;
    }
    Ok(())
}
