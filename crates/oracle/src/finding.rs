//! What the oracle finds: a broken rule, where, and in which terms.

use core::fmt;
use naive_walk::{Access, Grants, Use, Who};
use shadow::{Error, Fault, Load, Outcome, Rights, Target};
use words::{Gpa, Gva, PageSize};

/// A leaf of the shadow, with the addresses it is reached by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// First address it maps.
    pub gva: Gva,
    /// First byte it maps it to.
    pub gpa: Gpa,
    /// Its size.
    pub size: PageSize,
    /// What it allows.
    pub rights: Rights,
}

impl Leaf {
    /// Whether it maps `gva`.
    #[must_use]
    pub const fn covers(&self, gva: Gva) -> bool {
        gva.align_down(self.size.bits()).bits() == self.gva.bits()
    }
    /// Whether whatever it grants `other`, of the same place, grants too.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        let Rights {
            write,
            user,
            execute,
        } = self.rights;
        // Whether U/S is set decides about SMEP and SMAP too, so it must be equal.
        self.gva == other.gva
            && self.gpa == other.gpa
            && self.size == other.size
            && user == other.rights.user
            && write <= other.rights.write
            && execute <= other.rights.execute
    }
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rights {
            write,
            user,
            execute,
        } = self.rights;
        write!(
            f,
            "gva {} to gpa {}, {} KiB, r{}{}{}",
            self.gva,
            self.gpa,
            self.size.bytes() >> 10,
            if write { 'w' } else { '-' },
            if execute { 'x' } else { '-' },
            if user { 'u' } else { 's' },
        )
    }
}

/// Who holds a translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    /// The shadow tables, reachable from the root.
    Shadow,
    /// The processor's TLB, from an entry that is not in the tables any more.
    Tlb,
}

/// When a translation was judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// After a fault that filled it.
    Fill,
    /// After INVLPG of one of its addresses.
    Invlpg,
    /// After a load of a control register.
    Load,
    /// Among the samples taken now and then.
    Sample,
    /// When an access used it.
    Use,
}

/// What the guest's tables say of an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It leads there.
    At(Gpa),
    /// A page fault with this error code.
    PageFault(u32),
    /// The address is not canonical.
    NonCanonical,
}

/// A broken rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finding {
    /// A translation grants what neither the guest's tables nor a translation the guest may still hold grants.
    NotGranted {
        /// When it was judged.
        moment: Moment,
        /// Who holds it.
        holder: Holder,
        /// The translation.
        leaf: Leaf,
        /// The address, of those it maps, that is not granted.
        at: Gva,
        /// What is granted too much.
        excess: Grants,
    },
    /// The processor's TLB may hold an entry of another size for an address that was just filled.
    MixedSizes {
        /// What was filled.
        filled: Leaf,
        /// What the TLB may hold.
        held: Leaf,
    },
    /// The answer to a fault is not what the guest's tables say.
    WrongOutcome {
        /// The fault.
        fault: Fault,
        /// The answer.
        outcome: Outcome,
        /// What the tables say.
        expected: Verdict,
        /// Whether memory stands where they lead.
        memory: bool,
    },
    /// A translation for vmm-server is not what the guest's tables say.
    WrongTarget {
        /// The access.
        fault: Fault,
        /// The answer.
        target: Target,
        /// What the tables say.
        expected: Verdict,
    },
    /// A fault counts as filled, and the shadow does not allow the access.
    NoProgress {
        /// The fault.
        fault: Fault,
        /// What the shadow has there.
        leaf: Option<Leaf>,
    },
    /// An access went through and A, or D for a write, is not set in the guest's tables.
    NotMarked {
        /// The access.
        fault: Fault,
    },
    /// A load was refused or accepted wrongly.
    WrongLoad {
        /// The new CR3.
        cr3: u64,
        /// The answer.
        load: Load,
    },
    /// The vCPU has no root after a request that promises one, or one of the wrong format.
    WrongRoot {
        /// The level of the root, if there is one; 5 is a PAE root.
        level: Option<u32>,
    },
    /// The same fault came again and again, each time answered as settled.
    NoEnd {
        /// The fault.
        fault: Fault,
        /// How often.
        repeats: u32,
    },
    /// A request touched more entries than allowed.
    TooMuchWork {
        /// How many.
        touched: u64,
    },
    /// The kernel refused an operation.
    Refused,
    /// A request failed for a reason no guest can cause.
    Failed(Error),
}

impl Finding {
    /// The rule's name: equal for findings of the same kind.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::NotGranted {
                holder: Holder::Shadow,
                moment,
                ..
            } => match moment {
                Moment::Fill => "shadow not granted after fill",
                Moment::Invlpg => "shadow not granted after INVLPG",
                Moment::Load => "shadow not granted after load",
                Moment::Sample => "shadow not granted in sample",
                Moment::Use => "shadow not granted in use",
            },
            Self::NotGranted {
                holder: Holder::Tlb,
                moment,
                ..
            } => match moment {
                Moment::Fill => "TLB not granted after fill",
                Moment::Invlpg => "TLB not granted after INVLPG",
                Moment::Load => "TLB not granted after load",
                Moment::Sample => "TLB not granted in sample",
                Moment::Use => "TLB not granted in use",
            },
            Self::MixedSizes { .. } => "two sizes in TLB",
            Self::WrongOutcome { .. } => "wrong outcome",
            Self::WrongTarget { .. } => "wrong target",
            Self::NoProgress { .. } => "no progress",
            Self::NotMarked { .. } => "A or D not marked",
            Self::WrongLoad { .. } => "wrong load",
            Self::WrongRoot { .. } => "wrong root",
            Self::NoEnd { .. } => "no end",
            Self::TooMuchWork { .. } => "too much work",
            Self::Refused => "refused by the kernel",
            Self::Failed(_) => "failed",
        }
    }
}

/// An access in words.
struct Words(Access);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.0.what {
            Use::Read => "read",
            Use::Write => "write",
            Use::Fetch => "fetch",
        };
        let who = match self.0.who {
            Who::User => "user",
            Who::Supervisor { ac: false } => "supervisor",
            Who::Supervisor { ac: true } => "supervisor with AC",
            Who::Implicit => "implicit",
        };
        write!(f, "{who} {what}")
    }
}

fn access_of(fault: &Fault) -> Words {
    Words(Access::of(fault.mode, fault.access.code()))
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.rule())?;
        match self {
            Self::NotGranted {
                leaf, at, excess, ..
            } => {
                write!(f, "{leaf}; at {at} the guest grants no")?;
                for (index, access) in excess.iter().enumerate() {
                    write!(f, "{} {}", if index == 0 { "" } else { "," }, Words(access))?;
                }
                Ok(())
            }
            Self::MixedSizes { filled, held } => write!(f, "filled {filled}; held {held}"),
            Self::WrongOutcome {
                fault,
                outcome,
                expected,
                memory,
            } => {
                let access = access_of(fault);
                let (gva, cr3) = (fault.gva, fault.cr3);
                let place = if *memory { "memory" } else { "no memory" };
                write!(
                    f,
                    "{access} at gva {gva}, cr3 {cr3:#x}: {outcome:?}, expected {expected:?}, {place}"
                )
            }
            Self::WrongTarget {
                fault,
                target,
                expected,
            } => {
                let access = access_of(fault);
                let (gva, cr3) = (fault.gva, fault.cr3);
                write!(
                    f,
                    "{access} at gva {gva}, cr3 {cr3:#x}: {target:?}, expected {expected:?}"
                )
            }
            Self::NoProgress { fault, leaf } => {
                let (access, gva) = (access_of(fault), fault.gva);
                match leaf {
                    Some(leaf) => write!(f, "{access} at gva {gva}: the shadow has {leaf}"),
                    None => write!(f, "{access} at gva {gva}: the shadow has nothing there"),
                }
            }
            Self::NotMarked { fault } => {
                write!(f, "{} at gva {}", access_of(fault), fault.gva)
            }
            Self::WrongLoad { cr3, load } => write!(f, "cr3 {cr3:#x}: {load:?}"),
            Self::WrongRoot { level } => write!(f, "level {level:?}"),
            Self::NoEnd { fault, repeats } => {
                let (access, gva) = (access_of(fault), fault.gva);
                write!(f, "{access} at gva {gva}, {repeats} times")
            }
            Self::TooMuchWork { touched } => write!(f, "{touched} entries in one request"),
            Self::Refused => write!(f, "engine and kernel disagree"),
            Self::Failed(error) => write!(f, "{error:?}"),
        }
    }
}
