//! Non-maskable interrupts: when the next one may be taken.
//!
//! Taking one blocks the others until IRET is done (APM vol. 2, 8.5.2). The processor shows IRET before it carries it
//! out. If another NMI waits by then, the guest makes this one step with RFLAGS.TF set and exits behind it: IRET takes
//! TF from the stack, so the guest's flags are its own again. If none waits, the block ends at the first exit that is
//! not at the IRET.

/// Whether NMIs are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Nmi {
    /// Yes.
    #[default]
    Open,
    /// No: one is being served, and IRET is intercepted.
    Blocked,
    /// IRET at this address is about to be carried out.
    Returning(u64),
    /// Likewise, and TF was set in the guest's stead.
    Stepping(u64),
}

/// What to do at an IRET that was intercepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtIret {
    /// Let it happen.
    Go,
    /// Let it happen with TF set.
    Step,
}

/// What an exit means for a step that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// None was: the exit is the guest's.
    None,
    /// It was made: the debug exception is nobody's, and NMIs are taken.
    Made,
    /// It was not made: TF must go. Afterwards IRET is intercepted again.
    Failed,
    /// The guest was taken elsewhere, its flags with it; NMIs are taken.
    Elsewhere,
}

impl Nmi {
    /// Whether one may be taken now.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Open)
    }

    /// Whether it has to be told where the guest is.
    #[must_use]
    pub const fn asks_where(self) -> bool {
        matches!(self, Self::Returning(_) | Self::Stepping(_))
    }

    /// One was taken.
    #[must_use]
    pub const fn taken(self) -> Self {
        Self::Blocked
    }

    /// IRET at `rip` was intercepted; another NMI waits if `waits`. A guest that steps by itself (`steps`) exits behind
    /// it anyway.
    #[must_use]
    pub const fn at_iret(rip: u64, waits: bool, steps: bool) -> (Self, AtIret) {
        if waits && !steps {
            (Self::Stepping(rip), AtIret::Step)
        } else {
            (Self::Returning(rip), AtIret::Go)
        }
    }

    /// An exit came while the guest was at `rip`; `debug` if it is the debug exception of a single step.
    #[must_use]
    pub const fn after_exit(self, rip: u64, debug: bool) -> (Self, Step) {
        match self {
            Self::Returning(iret) if iret != rip => (Self::Open, Step::None),
            // IRET to itself is a step made, too.
            Self::Stepping(_) if debug => (Self::Open, Step::Made),
            Self::Stepping(iret) if iret == rip => (Self::Blocked, Step::Failed),
            Self::Stepping(_) => (Self::Open, Step::Elsewhere),
            other => (other, Step::None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_nmi_blocks_the_next_until_the_guest_is_behind_its_iret() {
        let blocked = Nmi::Open.taken();
        assert!(!blocked.is_open() && !blocked.asks_where());
        assert_eq!(blocked.after_exit(0x10, false), (Nmi::Blocked, Step::None));
        let (returning, action) = Nmi::at_iret(0x40, false, false);
        assert_eq!(action, AtIret::Go);
        // IRET itself faults on its stack and is carried out again.
        let (still, step) = returning.after_exit(0x40, false);
        assert_eq!((still, step), (returning, Step::None));
        assert_eq!(still.after_exit(0x1000, false), (Nmi::Open, Step::None));
    }

    #[test]
    fn an_nmi_that_waits_at_the_iret_makes_one_step_that_the_guest_never_sees() {
        let (stepping, action) = Nmi::at_iret(0x40, true, false);
        assert_eq!(action, AtIret::Step);
        assert_eq!(stepping.after_exit(0x1000, true), (Nmi::Open, Step::Made));
        assert_eq!(stepping.after_exit(0x40, true), (Nmi::Open, Step::Made));
    }

    #[test]
    fn a_step_that_meets_a_fault_is_taken_back() {
        let (stepping, _) = Nmi::at_iret(0x40, true, false);
        assert_eq!(
            stepping.after_exit(0x40, false),
            (Nmi::Blocked, Step::Failed)
        );
        assert_eq!(
            stepping.after_exit(0x2000, false),
            (Nmi::Open, Step::Elsewhere)
        );
    }

    #[test]
    fn a_guest_that_steps_by_itself_is_not_made_to() {
        let (returning, action) = Nmi::at_iret(0x40, true, true);
        assert_eq!((returning, action), (Nmi::Returning(0x40), AtIret::Go));
    }
}
