//! Deliberate faults in what keeps the processor's TLB honest, so that a test can show that its model of a TLB sees each.
//!
//! In tests a thread picks one by [`set`]; in the kernel itself [`is`] is always false and costs nothing.

/// A deliberate fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mutant {
    /// A page that is reset keeps its pool's TLB tags.
    ResetKeepsTags,
    /// A new epoch leaves the pages of the old one usable.
    RetireKeepsPages,
    /// Another root keeps the vCPU's tag.
    SetRootKeepsTag,
    /// A harvest of A and D keeps the tags.
    HarvestKeepsTags,
    /// An invalidation of everything keeps the tags.
    InvalidateAllKeepsTags,
    /// An invalidation of one address does not reach the processor.
    InvalidateAddressSkipped,
    /// An invalidation of one address reaches the first of a pool's vCPUs alone.
    InvalidateAddressOfOneVcpu,
    /// A frame or table that leaves the guest-physical space stays in the shadows made of it.
    UnmapKeepsShadows,
    /// … and in the TLB of vCPUs under nested paging.
    UnmapKeepsNestedTags,
    /// A control register written under nested paging keeps the tag.
    NestedRegisterKeepsTag,
    /// Every vCPU gets the same tag.
    TagShared,
    /// Tags begin again without a flush of everything.
    WrapWithoutFlush,
    /// A vCPU keeps a tag of before the last whole flush, which another has by now.
    OldGenerationKept,
    /// A flush that is due is forgotten although VMRUN was refused.
    RefusedRunFlushes,
}

#[cfg(test)]
impl Mutant {
    /// Every one.
    pub const ALL: [Self; 14] = [
        Self::ResetKeepsTags,
        Self::RetireKeepsPages,
        Self::SetRootKeepsTag,
        Self::HarvestKeepsTags,
        Self::InvalidateAllKeepsTags,
        Self::InvalidateAddressSkipped,
        Self::InvalidateAddressOfOneVcpu,
        Self::UnmapKeepsShadows,
        Self::UnmapKeepsNestedTags,
        Self::NestedRegisterKeepsTag,
        Self::TagShared,
        Self::WrapWithoutFlush,
        Self::OldGenerationKept,
        Self::RefusedRunFlushes,
    ];
}

/// Whether this fault is the one that was picked.
#[cfg(not(test))]
#[inline(always)]
pub(crate) const fn is(_: Mutant) -> bool {
    false
}

#[cfg(test)]
std::thread_local! {
    static PICKED: core::cell::Cell<Option<Mutant>> = const { core::cell::Cell::new(None) };
}

#[cfg(test)]
pub(crate) fn is(mutant: Mutant) -> bool {
    PICKED.with(core::cell::Cell::get) == Some(mutant)
}

/// Picks a fault for this thread, or none.
#[cfg(test)]
pub(crate) fn set(mutant: Option<Mutant>) {
    PICKED.with(|picked| picked.set(mutant));
}
