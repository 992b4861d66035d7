//! Types of objects, and what to say when one is made.

use crate::sys::object as number;
use core::ffi::c_uint;

/// A type of object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ObjectType {
    /// Untyped memory.
    Untyped,
    /// Endpoint.
    Endpoint,
    /// Notification.
    Notification,
    /// Capability node.
    CNode,
    /// Thread.
    Tcb,
    /// Scheduling context.
    SchedContext,
    /// Reply object.
    Reply,
    /// x86's.
    Arch(ObjectTypeX86),
    /// Umbra's own.
    Umbra(ObjectTypeUmbra),
}

/// A type of object of x86.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ObjectTypeX86 {
    /// 4 KiB frame.
    _4k,
    /// 2 MiB frame.
    LargePage,
    /// Last level of an address space.
    PageTable,
    /// Third level of an address space.
    PageDirectory,
    /// x86_64's.
    SeL4Arch(ObjectTypeX64),
}

/// A type of object of x86_64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ObjectTypeX64 {
    /// 1 GiB frame.
    HugePage,
    /// Second level of an address space.
    PDPT,
    /// Address space.
    PML4,
}

/// A type of object seL4 does not have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ObjectTypeUmbra {
    /// Virtual processor.
    VCpu,
    /// Guest-physical space.
    GuestPml4,
    /// Second level of one.
    GuestPdpt,
    /// Third level of one.
    GuestPageDirectory,
    /// Last level of one.
    GuestPageTable,
    /// Shadow pool.
    ShadowPool,
}

/// The architecture's types.
pub type ObjectTypeArch = ObjectTypeX86;
/// The word size's types.
pub type ObjectTypeSeL4Arch = ObjectTypeX64;

impl ObjectType {
    /// Its number.
    #[must_use]
    pub const fn into_sys(self) -> c_uint {
        let number = match self {
            Self::Untyped => number::UNTYPED,
            Self::Endpoint => number::ENDPOINT,
            Self::Notification => number::NOTIFICATION,
            Self::CNode => number::CAP_TABLE,
            Self::Tcb => number::TCB,
            Self::SchedContext => number::SCHED_CONTEXT,
            Self::Reply => number::REPLY,
            Self::Arch(ObjectTypeX86::_4k) => number::X86_4K,
            Self::Arch(ObjectTypeX86::LargePage) => number::X86_LARGE_PAGE,
            Self::Arch(ObjectTypeX86::PageTable) => number::X86_PAGE_TABLE,
            Self::Arch(ObjectTypeX86::PageDirectory) => number::X86_PAGE_DIRECTORY,
            Self::Arch(ObjectTypeX86::SeL4Arch(ObjectTypeX64::HugePage)) => number::X64_HUGE_PAGE,
            Self::Arch(ObjectTypeX86::SeL4Arch(ObjectTypeX64::PDPT)) => number::X86_PDPT,
            Self::Arch(ObjectTypeX86::SeL4Arch(ObjectTypeX64::PML4)) => number::X64_PML4,
            Self::Umbra(ObjectTypeUmbra::VCpu) => number::VCPU,
            Self::Umbra(ObjectTypeUmbra::GuestPml4) => number::GUEST_PML4,
            Self::Umbra(ObjectTypeUmbra::GuestPdpt) => number::GUEST_PDPT,
            Self::Umbra(ObjectTypeUmbra::GuestPageDirectory) => number::GUEST_PAGE_DIRECTORY,
            Self::Umbra(ObjectTypeUmbra::GuestPageTable) => number::GUEST_PAGE_TABLE,
            Self::Umbra(ObjectTypeUmbra::ShadowPool) => number::SHADOW_POOL,
        };
        number as c_uint
    }
}

/// An object to make: its type and, where the maker has the choice, its size.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ObjectBlueprint {
    /// Untyped memory.
    Untyped {
        /// log2 of its bytes.
        size_bits: usize,
    },
    /// Endpoint.
    Endpoint,
    /// Notification.
    Notification,
    /// Capability node.
    CNode {
        /// Its radix.
        size_bits: usize,
    },
    /// Thread.
    Tcb,
    /// Scheduling context.
    SchedContext {
        /// log2 of its bytes.
        size_bits: usize,
    },
    /// Reply object.
    Reply,
    /// x86's.
    Arch(ObjectBlueprintX86),
    /// Umbra's own.
    Umbra(ObjectBlueprintUmbra),
}

/// An object of x86 to make.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ObjectBlueprintX86 {
    /// 4 KiB frame.
    _4k,
    /// 2 MiB frame.
    LargePage,
    /// Last level of an address space.
    PageTable,
    /// Third level of an address space.
    PageDirectory,
    /// x86_64's.
    SeL4Arch(ObjectBlueprintX64),
}

/// An object of x86_64 to make.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ObjectBlueprintX64 {
    /// 1 GiB frame.
    HugePage,
    /// Second level of an address space.
    PDPT,
    /// Address space.
    PML4,
}

/// An object seL4 does not have, to make.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ObjectBlueprintUmbra {
    /// Virtual processor.
    VCpu,
    /// Guest-physical space.
    GuestPml4,
    /// Second level of one.
    GuestPdpt,
    /// Third level of one.
    GuestPageDirectory,
    /// Last level of one.
    GuestPageTable,
    /// Shadow pool.
    ShadowPool {
        /// log2 of its pages.
        size_bits: usize,
    },
}

/// The architecture's objects.
pub type ObjectBlueprintArch = ObjectBlueprintX86;
/// The word size's objects.
pub type ObjectBlueprintSeL4Arch = ObjectBlueprintX64;

impl ObjectBlueprint {
    /// Its type.
    #[must_use]
    pub const fn ty(self) -> ObjectType {
        match self {
            Self::Untyped { .. } => ObjectType::Untyped,
            Self::Endpoint => ObjectType::Endpoint,
            Self::Notification => ObjectType::Notification,
            Self::CNode { .. } => ObjectType::CNode,
            Self::Tcb => ObjectType::Tcb,
            Self::SchedContext { .. } => ObjectType::SchedContext,
            Self::Reply => ObjectType::Reply,
            Self::Arch(arch) => ObjectType::Arch(arch.ty()),
            Self::Umbra(umbra) => ObjectType::Umbra(umbra.ty()),
        }
    }
    /// The size a retype is told, where it is asked.
    #[must_use]
    pub const fn api_size_bits(self) -> Option<usize> {
        match self {
            Self::Untyped { size_bits }
            | Self::CNode { size_bits }
            | Self::SchedContext { size_bits }
            | Self::Umbra(ObjectBlueprintUmbra::ShadowPool { size_bits }) => Some(size_bits),
            _ => None,
        }
    }
    /// log2 of the memory it takes.
    #[must_use]
    pub const fn physical_size_bits(self) -> usize {
        let user_bits = match self.api_size_bits() {
            Some(bits) => bits as u64,
            None => 0,
        };
        match number::size_bits(self.ty().into_sys() as u64, user_bits) {
            Some(bits) => bits as usize,
            None => unreachable!(),
        }
    }
    /// What an ASID pool is made of.
    #[must_use]
    pub const fn asid_pool() -> Self {
        Self::Untyped { size_bits: 12 }
    }
}

impl ObjectBlueprintX86 {
    const fn ty(self) -> ObjectTypeX86 {
        match self {
            Self::_4k => ObjectTypeX86::_4k,
            Self::LargePage => ObjectTypeX86::LargePage,
            Self::PageTable => ObjectTypeX86::PageTable,
            Self::PageDirectory => ObjectTypeX86::PageDirectory,
            Self::SeL4Arch(ObjectBlueprintX64::HugePage) => {
                ObjectTypeX86::SeL4Arch(ObjectTypeX64::HugePage)
            }
            Self::SeL4Arch(ObjectBlueprintX64::PDPT) => {
                ObjectTypeX86::SeL4Arch(ObjectTypeX64::PDPT)
            }
            Self::SeL4Arch(ObjectBlueprintX64::PML4) => {
                ObjectTypeX86::SeL4Arch(ObjectTypeX64::PML4)
            }
        }
    }
}

impl ObjectBlueprintUmbra {
    const fn ty(self) -> ObjectTypeUmbra {
        match self {
            Self::VCpu => ObjectTypeUmbra::VCpu,
            Self::GuestPml4 => ObjectTypeUmbra::GuestPml4,
            Self::GuestPdpt => ObjectTypeUmbra::GuestPdpt,
            Self::GuestPageDirectory => ObjectTypeUmbra::GuestPageDirectory,
            Self::GuestPageTable => ObjectTypeUmbra::GuestPageTable,
            Self::ShadowPool { .. } => ObjectTypeUmbra::ShadowPool,
        }
    }
}

macro_rules! upward {
    ($($from:ty => $to:ident, |$value:ident| $expression:expr;)*) => { $(
        impl From<$from> for $to {
            fn from($value: $from) -> Self {
                $expression
            }
        }
    )* };
}

upward! {
    ObjectTypeX64 => ObjectTypeX86, |ty| Self::SeL4Arch(ty);
    ObjectTypeX86 => ObjectType, |ty| Self::Arch(ty);
    ObjectTypeX64 => ObjectType, |ty| Self::Arch(ty.into());
    ObjectTypeUmbra => ObjectType, |ty| Self::Umbra(ty);
    ObjectBlueprintX64 => ObjectBlueprintX86, |blueprint| Self::SeL4Arch(blueprint);
    ObjectBlueprintX86 => ObjectBlueprint, |blueprint| Self::Arch(blueprint);
    ObjectBlueprintX64 => ObjectBlueprint, |blueprint| Self::Arch(blueprint.into());
    ObjectBlueprintUmbra => ObjectBlueprint, |blueprint| Self::Umbra(blueprint);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_have_the_abi_s_sizes() {
        let sizes = [
            (ObjectBlueprint::Tcb, 11),
            (ObjectBlueprint::CNode { size_bits: 12 }, 17),
            (ObjectBlueprint::SchedContext { size_bits: 7 }, 7),
            (ObjectBlueprintX64::PML4.into(), 12),
            (ObjectBlueprintX86::LargePage.into(), 21),
            (ObjectBlueprintUmbra::VCpu.into(), 13),
            (ObjectBlueprintUmbra::ShadowPool { size_bits: 5 }.into(), 17),
        ];
        for (blueprint, bits) in sizes {
            assert_eq!(blueprint.physical_size_bits(), bits, "{blueprint:?}");
        }
    }
}
