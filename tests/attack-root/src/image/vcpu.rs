//! A hostile vmm-server: whatever it makes of the guest's registers, the guest exits or runs until its time is over, and
//! what the guest's registers show is what was written, not what the processor was given (I6).

use super::{
    guest::{Guest, Outcome},
    heartbeat,
    kit::Kit,
    report::{Check, Failure, Report, holds, refused},
};
use attack_root::states::{COUNT, State};
use exit_abi::{Exit, Mask, Register};
use sel4::{Error, Result};
use words::x86::{cr0, efer};

/// `nop; jmp` to it, in every mode.
const LOOP: &[u8] = &[0x90, 0xeb, 0xfd];

/// What came of the states.
#[derive(Default)]
struct Tally {
    refused: u64,
    exited: u64,
    ran: u64,
}

/// Tries every state.
pub(crate) fn attack(kit: &mut Kit, report: &mut Report) -> Result<()> {
    let guest = Guest::new(kit)?;
    for page in &guest.memory {
        page.code(LOOP);
    }
    guest.build_long()?;
    guest.build_pae()?;
    report.line("malformed-answers", malformed(&guest));
    let mut tally = Tally::default();
    for n in 0..COUNT {
        if let Err(why) = try_state(&guest, n, &mut tally) {
            report.failure("vcpu-states", format_args!("state {n}: {why}"));
            return Ok(());
        }
    }
    if !heartbeat::is_alive() {
        report.failure("vcpu-states", format_args!("the heartbeat stands still"));
        return Ok(());
    }
    report.counted(
        "vcpu-states",
        format_args!(
            "states={COUNT} refused={} exited={} ran={}",
            tally.refused, tally.exited, tally.ran
        ),
    );
    Ok(())
}

/// Answers that name more registers than they bring: the guest exits again and has changed nothing. And a vCPU with a shadow
/// pool stays with it.
fn malformed(guest: &Guest) -> Check {
    for (mask, length) in [
        (1 << 63, 1),
        (u64::MAX, 64),
        (Mask::ALL.0, 10),
        (1, 1),
        (3, 2),
    ] {
        guest.long_mode_at(0x1000)?;
        guest.pool.set_root(8, guest.vcpu)?;
        guest.has_no_root()?;
        let outcome = guest.answer_nonsense(mask, length)?;
        holds(
            matches!(outcome, Outcome::Exit(Exit::Invalid { .. })),
            "an answer that makes no sense was taken",
        )?;
        let efer = guest.vcpu.read_register(Register::Efer)?;
        holds(
            efer == efer::LME | efer::LMA,
            "a refused answer changed a register",
        )?;
    }
    refused(guest.vcpu.set_nested(guest.space), Error::IllegalOperation)
}

/// Brings the guest into a state, by an invocation or in the answer to an exit, and lets it run.
fn try_state(guest: &Guest, n: u64, tally: &mut Tally) -> Check {
    let state = State::number(n);
    guest.tcb.tcb_suspend()?;
    guest.long_mode_at(0x1000)?;
    let first = if n.is_multiple_of(2) {
        written(guest, &state, tally)?
    } else {
        answered(guest, &state)?
    };
    let Some(mut outcome) = first else {
        return Ok(());
    };
    if let Outcome::Exit(Exit::NoRoot { mode, .. }) = outcome {
        shows(guest, &state)?;
        let long = mode.has(exit_abi::Mode::LMA);
        guest.pool.set_root(if long { 0 } else { 8 }, guest.vcpu)?;
        outcome = guest.answer(Mask::default(), &[])?;
    }
    judge(outcome, tally)
}

/// By VCPU_WRITE_REGISTERS. `None`: refused.
fn written(
    guest: &Guest,
    state: &State,
    tally: &mut Tally,
) -> core::result::Result<Option<Outcome>, Failure> {
    // Without a root the guest exits first, and its registers can be looked at.
    guest.pool.set_root(8, guest.vcpu)?;
    match guest.vcpu.write_registers(state.mask, state.values()) {
        Ok(()) => {
            shows(guest, state)?;
            Ok(Some(guest.run()?))
        }
        Err(Error::RangeError) => {
            tally.refused += 1;
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// In the answer to an exit: the one for want of a root.
fn answered(guest: &Guest, state: &State) -> core::result::Result<Option<Outcome>, Failure> {
    guest.pool.set_root(8, guest.vcpu)?;
    guest.has_no_root()?;
    Ok(Some(guest.answer(state.mask, state.values())?))
}

/// The registers that were written read back as the guest would see them.
fn shows(guest: &Guest, state: &State) -> Check {
    let visible = [
        (Register::Cr0, cr0::DEFINED),
        (Register::Cr4, u64::MAX),
        (Register::Efer, u64::MAX),
    ];
    for (register, mask) in visible {
        if let Some(value) = state.value(register) {
            holds(
                guest.vcpu.read_register(register)? == value & mask,
                "a control register does not show what was written",
            )?;
        }
    }
    let untouched = state.value(Register::Efer).is_none();
    holds(
        !untouched || guest.vcpu.read_register(Register::Efer)? == efer::LME | efer::LMA,
        "EFER shows a bit of the kernel's",
    )
}

fn judge(outcome: Outcome, tally: &mut Tally) -> Check {
    match outcome {
        Outcome::Ran => tally.ran += 1,
        Outcome::Exit(Exit::FormatBroken { .. }) => {
            return Err(Failure::Because(
                "the guest ran on a root that is not its own",
            ));
        }
        Outcome::Exit(Exit::NoRoot { .. }) => {
            return Err(Failure::Because(
                "a root of the mode's format was not taken",
            ));
        }
        Outcome::Exit(Exit::Invalid { .. }) => tally.refused += 1,
        Outcome::Exit(_) => tally.exited += 1,
        Outcome::Nonsense(_) => return Err(Failure::Because("a message that is no exit came")),
    }
    Ok(())
}
