//! What goes wrong in a run, and the program that leads there.

use crate::op::Op;
use crate::run::Setup;
use oracle::{Finding, Leaf};
use std::fmt;
use words::Gva;

/// What goes wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Complaint {
    /// The oracle found something.
    Finding(Finding),
    /// The processor let an access through that it should not have.
    LetThrough {
        /// By this translation.
        leaf: Leaf,
        /// At this address.
        gva: Gva,
    },
    /// The oracle's mirror and the pool differ: the oracle itself is wrong.
    Mirror {
        /// At this address.
        gva: Gva,
    },
    /// An access never ends.
    Endless {
        /// The address.
        gva: Gva,
    },
    /// The kernel refused an operation for a reason.
    Refused(String),
    /// Something was written into the guest's memory that no walk writes there.
    Marks {
        /// Where.
        at: u64,
        /// What stood there.
        old: u64,
        /// What was written.
        new: u64,
    },
}

impl Complaint {
    /// The kind of complaint: shrinking keeps it.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Finding(finding) => finding.rule(),
            Self::LetThrough { .. } => "access let through",
            Self::Mirror { .. } => "mirror and pool differ",
            Self::Endless { .. } => "access without end",
            Self::Refused(_) => "refused by the kernel",
            Self::Marks { .. } => "wrong marks",
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finding(finding) => finding.fmt(f),
            Self::LetThrough { leaf, gva } => write!(f, "access at {gva} let through by {leaf}"),
            Self::Mirror { gva } => write!(f, "mirror and pool differ at {gva}"),
            Self::Endless { gva } => write!(f, "the access at {gva} never ends"),
            Self::Refused(why) => write!(f, "the kernel refused: {why}"),
            Self::Marks { at, old, new } => {
                write!(f, "the entry at {at:#x} became {new:#x}, from {old:#x}")
            }
        }
    }
}

/// A run that failed: replaying `ops` in `setup` fails in the same way.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The step at which it failed, counted over the run.
    pub step: u64,
    /// Why.
    pub complaint: Complaint,
    /// The surroundings.
    pub setup: Setup,
    /// The program.
    pub ops: Vec<Op>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "step {}: {}", self.step, self.complaint)?;
        writeln!(f, "{}", self.setup)?;
        for op in &self.ops {
            writeln!(f, "    {op}")?;
        }
        Ok(())
    }
}
