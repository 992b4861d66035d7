//! The steps of a guest program. Each makes sense in any state, so that a program stays one when steps are left out.

use std::fmt;

/// One step. Addresses and values are numbers, as a regression test writes them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// The guest writes an 8-byte word of its memory, by a mapping that is not looked at.
    Store {
        /// Guest-physical address.
        at: u64,
        /// The word.
        value: u64,
    },
    /// The same with 4 bytes.
    Store32 {
        /// Guest-physical address.
        at: u64,
        /// The word.
        value: u32,
    },
    /// The guest accesses an address: `code` as in a page-fault error code (2 write, 4 user, 16 fetch). A supervisor's
    /// access has RFLAGS.AC as `ac` says and is an implicit one if `implicit`.
    Touch {
        /// Linear address.
        gva: u64,
        /// The access.
        code: u32,
        /// RFLAGS.AC.
        ac: bool,
        /// By the processor, while code runs at CPL 3.
        implicit: bool,
        /// What the TLB does.
        luck: u32,
    },
    /// A supervisor's write of an 8-byte word through its mapping, with AC set.
    Poke {
        /// Linear address.
        gva: u64,
        /// The word.
        value: u64,
        /// What the TLB does.
        luck: u32,
    },
    /// One instruction that reads all these addresses: it is done when all accesses go through at once.
    Together {
        /// Linear addresses.
        gvas: [u64; 4],
        /// What the TLB does.
        luck: u32,
    },
    /// One instruction at CPL 3 that reads an address itself and has the processor write another, as a far call through a
    /// gate does. Both in one page are no step: with CR0.WP clear that need not end (`shadow::bounds::MAX_TURNS`).
    Gate {
        /// Linear address read with the user's rights.
        gva: u64,
        /// Linear address written implicitly.
        implicit: u64,
        /// What the TLB does.
        luck: u32,
    },
    /// vmm-server wants to know where an address leads; as [`Op::Touch`].
    Translate {
        /// Linear address.
        gva: u64,
        /// The access.
        code: u32,
        /// RFLAGS.AC.
        ac: bool,
    },
    /// INVLPG.
    Invlpg {
        /// Linear address.
        gva: u64,
    },
    /// MOV to CR3.
    Cr3 {
        /// The value.
        value: u64,
    },
    /// MOV to CR0: PG and WP.
    Cr0 {
        /// PG.
        pg: bool,
        /// WP.
        wp: bool,
    },
    /// MOV to CR4: the bits of `exit_abi::Mode` for PAE, PSE, PGE, SMEP and SMAP.
    Cr4 {
        /// The bits.
        bits: u32,
    },
    /// WRMSR to EFER.
    Efer {
        /// NXE.
        nxe: bool,
        /// LME.
        lme: bool,
    },
    /// The engine does not hear of the next load (a server was restarted, say) but is asked for a root instead.
    Lose,
    /// The vCPU asks for a root, for no reason.
    EnsureRoot,
    /// The kernel makes the pool stale between two requests.
    Revoke,
    /// The kernel makes the pool stale during the next request.
    StaleAfter {
        /// After so many operations.
        operations: u32,
    },
    /// The kernel refuses an operation of the next request for no reason.
    RefuseAfter {
        /// After so many operations.
        operations: u32,
    },
    /// Other processors are faster in so many compare-exchanges.
    Contend {
        /// How many.
        exchanges: u32,
    },
    /// A frame without tables comes or goes; when it goes the pool becomes stale.
    Plug {
        /// Its number.
        frame: u64,
        /// It comes.
        there: bool,
    },
    /// The processor caches a translation nobody asked for.
    Speculate {
        /// Linear address.
        gva: u64,
        /// What the TLB does.
        luck: u32,
    },
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Store { at, value } => {
                write!(f, "Op::Store {{ at: {at:#x}, value: {value:#x} }},")
            }
            Self::Store32 { at, value } => {
                write!(f, "Op::Store32 {{ at: {at:#x}, value: {value:#x} }},")
            }
            Self::Touch {
                gva,
                code,
                ac,
                implicit,
                luck,
            } => write!(
                f,
                "Op::Touch {{ gva: {gva:#x}, code: {code:#x}, ac: {ac}, implicit: {implicit}, luck: {luck:#x} }},"
            ),
            Self::Poke { gva, value, luck } => write!(
                f,
                "Op::Poke {{ gva: {gva:#x}, value: {value:#x}, luck: {luck:#x} }},"
            ),
            Self::Together { gvas, luck } => {
                write!(f, "Op::Together {{ gvas: {gvas:#x?}, luck: {luck:#x} }},")
            }
            Self::Gate {
                gva,
                implicit,
                luck,
            } => write!(
                f,
                "Op::Gate {{ gva: {gva:#x}, implicit: {implicit:#x}, luck: {luck:#x} }},"
            ),
            Self::Translate { gva, code, ac } => {
                write!(
                    f,
                    "Op::Translate {{ gva: {gva:#x}, code: {code:#x}, ac: {ac} }},"
                )
            }
            Self::Invlpg { gva } => write!(f, "Op::Invlpg {{ gva: {gva:#x} }},"),
            Self::Cr3 { value } => write!(f, "Op::Cr3 {{ value: {value:#x} }},"),
            Self::Plug { frame, there } => {
                write!(f, "Op::Plug {{ frame: {frame:#x}, there: {there} }},")
            }
            Self::Speculate { gva, luck } => {
                write!(f, "Op::Speculate {{ gva: {gva:#x}, luck: {luck:#x} }},")
            }
            other => write!(f, "Op::{other:?},"),
        }
    }
}
