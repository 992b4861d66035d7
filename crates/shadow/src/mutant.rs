//! Deliberate faults: each knocks out one flush, one rule or one piece of bookkeeping, so that a test can show that the
//! oracle would see it missing.
//!
//! With the feature `mutants` a test picks one for its thread by [`set`]; without it [`is`] is always false and costs
//! nothing. A mutant belongs here only if what it breaks can be seen from outside: as a grant the guest's tables do not
//! give, a wrong answer, an operation the kernel refuses, two page sizes for one address in the processor's TLB, or an access
//! that never ends.

macro_rules! mutants {
    ($($(#[doc = $whose:literal])+ $group:ident { $($(#[doc = $what:literal])+ $name:ident,)* })*) => {
        /// A deliberate fault.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Mutant {
            $($($(#[doc = $what])+ $name,)*)*
        }

        impl Mutant {
            /// Every mutant.
            pub const ALL: &'static [Self] = &[$($(Self::$name,)*)*];
            $($(#[doc = $whose])+ pub const $group: &'static [Self] = &[$(Self::$name),*];)*

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $($(Self::$name => stringify!($name),)*)*
                }
            }

            /// What it knocks out.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self {
                    $($(Self::$name => concat!($($what),+),)*)*
                }
            }
        }
    };
}

mutants! {
    /// Those of the engine; crate `trial` must see each.
    ENGINE {
        // INVLPG.
        /// INVLPG empties the shadow entry and does not flush the address.
        NoFlushOnInvlpg,
        /// INVLPG flushes the address and leaves the shadow entry.
        NoClearOnInvlpg,
        /// INVLPG of a large guest page that stands in pieces drops the pieces and does not flush.
        NoFlushOnInvlpgOfPieces,
        /// INVLPG of a 4 MiB guest page drops the half that the address lies in.
        InvlpgDropsOneHalf,
        /// INVLPG of a 1 GiB guest page drops the 2 MiB that the address lies in.
        InvlpgDropsOnePieceOfGigabyte,
        /// A page table is not marked as holding pieces of a larger guest page.
        NoPiecesInTable,
        /// A page directory is not marked as holding pieces of a 4 MiB guest page.
        NoPairsInDirectory,
        /// A page directory is not marked as holding pieces of a 1 GiB guest page.
        NoPiecesInDirectory,

        // Loads of control registers.
        /// MOV to CR3 keeps the shadow.
        NoDropOnCr3,
        /// A change of CR0 keeps the shadow.
        NoDropOnCr0,
        /// A change of CR4 keeps the shadow.
        NoDropOnCr4,
        /// A change of EFER keeps the shadow.
        NoDropOnEfer,
        /// A request whose mode differs from the shadow's uses the shadow all the same.
        AdoptIgnoresRole,
        /// A request whose CR3 differs from the shadow's uses the shadow all the same.
        AdoptIgnoresCr3,

        // Latched PDPTEs (APM vol. 2, 5.2.3).
        /// PAE paging begins with the PDPTEs of before.
        NoLatchOnEntry,
        /// MOV to CR3 keeps the latched PDPTEs.
        NoLatchOnCr3,
        /// A change of CR4.PSE, PGE or SMEP keeps the latched PDPTEs.
        NoLatchOnCr4,
        /// A change of CR0 or EFER within PAE paging reads the PDPTEs again.
        LatchOnEveryLoad,
        /// Every walk reads the PDPTEs from memory.
        PdptesNotLatched,
        /// A load with PDPTEs that the processor would refuse counts.
        LoadNotChecked,

        // Leaves and tables.
        /// A page is kept large though part of it is no memory.
        LargeLeafOverHole,
        /// A 4 KiB guest page is filled as a large one.
        LeafLargerThanGuestPage,
        /// Replacing a table by a large leaf does not flush.
        NoFlushOnMerge,
        /// Replacing a table by a large leaf leaves the table in the books.
        MergeKeepsTableInBooks,

        /// A fault that comes again although it was filled does not flush its address.
        NoFlushOnRepeat,
        /// With CR0.WP clear a large user page that is read-only stays large.
        TurnsStayLarge,

        // Eviction.
        /// Eviction may take a table on the way of the address being filled.
        EvictsPathInUse,
        /// Eviction takes the table filled last.
        EvictsNewest,
        /// A fill does not make the tables on its way the newest.
        FillLeavesOrder,
        /// A shadow that the kernel made stale is not forgotten.
        NoForgetOnStale,
    }
    /// Those of the walk, the entries, the space and the policy; `tests/exhaustive.rs` must see each.
    WALK {
        // Present and reserved bits.
        /// P is not looked at.
        PresentIgnored,
        /// Address bits beyond the physical width are not reserved.
        WidthNotReserved,
        /// NX is not reserved without EFER.NXE.
        NxNotReserved,
        /// Bits 62..52 are not reserved in PAE paging.
        HighBitsNotReserved,
        /// Bits 8..7 of a PML4 entry are not reserved.
        Pml4eBitsNotReserved,
        /// PS of a directory-pointer entry is not reserved on a processor without 1 GiB pages.
        PdpeSizeNotReserved,
        /// Bit 8 of a directory-pointer entry that names a table is reserved.
        PdpeGlobalReserved,
        /// Bits 29..13 of a 1 GiB page's entry are not reserved.
        LowBitsOf1gNotReserved,
        /// Bits 20..13 of a 2 MiB page's entry are not reserved.
        LowBitsOf2mNotReserved,
        /// The bits of a 4 MiB page's entry that hold no address are not reserved.
        LowBitsOf4mNotReserved,
        /// The reserved bits of a PDPTE are not looked at.
        PdpteNotChecked,

        // Sizes and addresses.
        /// PS of a 4-byte entry counts without CR4.PSE.
        PageSizeWithoutPse,
        /// Address bits 39..32 of a 4 MiB page are dropped.
        HighAddressOf4mDropped,
        /// Outside long mode a linear address keeps more than 32 bits.
        AddressNotTruncated,
        /// A non-canonical address is walked.
        CanonicalNotChecked,
        /// A long-mode CR3 beyond the physical width is loaded.
        Cr3NotChecked,
        /// The PDPTEs are read from the start of CR3's page.
        PdptesFromPageStart,

        // Rights along the path.
        /// R/W counts in the last entry only.
        WritableByLeafAlone,
        /// U/S counts in the last entry only.
        UserByLeafAlone,
        /// NX counts in the last entry only.
        ExecutableByLeafAlone,

        // Who may do what.
        /// User code reaches supervisor pages.
        UserNotChecked,
        /// User code writes to read-only pages.
        ReadOnlyNotChecked,
        /// User code executes from NX pages.
        NxNotCheckedForUser,
        /// Supervisor code executes from NX pages.
        NxNotCheckedForSupervisor,
        /// CR0.WP counts as clear.
        WpIgnored,
        /// CR0.WP counts as set.
        WpAssumed,
        /// CR4.SMEP counts as clear.
        SmepIgnored,
        /// CR4.SMAP counts as clear.
        SmapIgnored,
        /// RFLAGS.AC does not lift SMAP.
        SmapIgnoresAc,
        /// RFLAGS.AC lifts SMAP for implicit accesses, too.
        ImplicitHonoursAc,

        // The error code.
        /// I is reported wherever there was a fetch.
        FetchAlwaysReported,
        /// I is not reported for SMEP's sake.
        FetchNotReportedForSmep,
        /// A reserved bit is reported without P.
        ReservedWithoutPresent,

        // A and D.
        /// A is never set.
        NoAccessed,
        /// A is set in the last entry only.
        AccessedInLeafAlone,
        /// D is never set.
        NoDirty,
        /// Reads set D.
        DirtyOnRead,
        /// A and D are set before the rights are looked at.
        MarksBeforeRights,
        /// An entry that changed meanwhile is taken for marked.
        ExchangeNotChecked,

        // What a leaf grants.
        /// A leaf is writable before its guest entry is dirty.
        LeafWritableBeforeDirty,
        /// A leaf of a read-only page is writable.
        LeafIgnoresReadOnly,
        /// A leaf of a supervisor page is the user's.
        LeafIgnoresSupervisor,
        /// A leaf of an NX page is executable.
        LeafIgnoresNx,
        /// With CR0.WP clear a leaf of the supervisor's read-only page stays read-only.
        LeafIgnoresWp,
        /// With CR0.WP clear a user page that the supervisor wrote past R/W stays the user's.
        LeafPastReadOnlyForUser,
        /// With CR0.WP clear a user page that the supervisor wrote past R/W escapes SMEP.
        LeafPastReadOnlyEscapesSmep,
    }
}

#[cfg(feature = "mutants")]
mod chosen {
    use super::Mutant;
    use std::cell::Cell;

    std::thread_local! {
        static CHOSEN: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Whether this thread runs with `mutant`.
    #[must_use]
    pub fn is(mutant: Mutant) -> bool {
        CHOSEN.get() == Some(mutant)
    }

    /// Makes this thread run with `mutant`, or with none.
    pub fn set(mutant: Option<Mutant>) {
        CHOSEN.set(mutant);
    }
}

#[cfg(feature = "mutants")]
pub use chosen::{is, set};

/// `what`, unless this thread runs with `mutant`, which knocks it out.
#[must_use]
pub fn unless<T: Default>(mutant: Mutant, what: T) -> T {
    if is(mutant) { T::default() } else { what }
}

/// Whether this thread runs with `mutant`: never, in this build.
#[cfg(not(feature = "mutants"))]
#[must_use]
pub const fn is(_mutant: Mutant) -> bool {
    false
}
