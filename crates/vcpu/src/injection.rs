//! Which event goes into the guest with this reply.
//!
//! Priority (APM vol. 2, 8.5): an event already in delivery or raised by the instruction just handled, then NMI, then an
//! external interrupt. EVENTINJ ignores RFLAGS.IF and the interrupt shadow (APM vol. 2, 15.20), so both are honoured here.

use crate::resume::Resume;
use exit_abi::Status;

/// What waits outside the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pending {
    /// A non-maskable interrupt.
    pub nmi: bool,
    /// The interrupt controller's output is high.
    pub interrupt: bool,
}

/// What the reply carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Nothing to do.
    Nothing,
    /// Inject an NMI.
    Nmi,
    /// Acknowledge the interrupt controller and inject the vector it gives.
    Interrupt,
    /// Something waits and cannot be taken now: ask for an exit when it can.
    Window,
}

/// Decides from the status the exit came with and what `resume` does already.
#[must_use]
pub const fn decide(status: Status, resume: &Resume, pending: Pending) -> Decision {
    if !pending.nmi && !pending.interrupt {
        return Decision::Nothing;
    }
    // An event in delivery that the answer does not replace is still the kernel's to deliver.
    let occupied = resume.injects() || status.event_in_delivery;
    if occupied || resume.shadow() {
        return Decision::Window;
    }
    if pending.nmi {
        return Decision::Nmi;
    }
    if status.interrupts_enabled {
        Decision::Interrupt
    } else {
        Decision::Window
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::resume::Width;

    const READY: Status = Status {
        interrupts_enabled: true,
        interrupt_shadow: false,
        event_in_delivery: false,
        single_step: false,
        resume_flag: false,
    };
    const INTERRUPT: Pending = Pending {
        nmi: false,
        interrupt: true,
    };
    const BOTH: Pending = Pending {
        nmi: true,
        interrupt: true,
    };

    fn decision(status: Status, pending: Pending) -> Decision {
        decide(status, &Resume::new(status), pending)
    }

    #[test]
    fn nothing_pending_means_nothing_to_do() {
        assert_eq!(decision(READY, Pending::default()), Decision::Nothing);
    }

    #[test]
    fn an_interrupt_waits_for_if_the_shadow_and_an_event_in_delivery() {
        assert_eq!(decision(READY, INTERRUPT), Decision::Interrupt);
        let blocked = [
            Status {
                interrupts_enabled: false,
                ..READY
            },
            Status {
                interrupt_shadow: true,
                ..READY
            },
            Status {
                event_in_delivery: true,
                ..READY
            },
        ];
        for status in blocked {
            assert_eq!(decision(status, INTERRUPT), Decision::Window);
        }
    }

    #[test]
    fn an_nmi_goes_first_and_ignores_if() {
        assert_eq!(decision(READY, BOTH), Decision::Nmi);
        let masked = Status {
            interrupts_enabled: false,
            ..READY
        };
        assert_eq!(decision(masked, BOTH), Decision::Nmi);
    }

    #[test]
    fn an_exception_raised_by_the_answer_goes_first() {
        let mut resume = Resume::new(READY);
        resume.inject(Event::nmi());
        assert_eq!(decide(READY, &resume, BOTH), Decision::Window);
    }

    #[test]
    fn the_shadow_ends_with_the_instruction_that_was_carried_out() {
        let status = Status {
            interrupt_shadow: true,
            ..READY
        };
        let mut resume = Resume::new(status);
        resume.skip(0, 1, Width::Long);
        assert_eq!(decide(status, &resume, INTERRUPT), Decision::Interrupt);
    }
}
