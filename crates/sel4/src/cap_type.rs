//! Kinds of capabilities, as types without values.

use crate::{
    FrameObjectType, ObjectBlueprint, ObjectBlueprintUmbra, ObjectBlueprintX64, ObjectBlueprintX86,
    ObjectType, ObjectTypeUmbra, ObjectTypeX64, ObjectTypeX86, TranslationTableObjectType,
};

/// A kind of capability.
pub trait CapType {
    /// Its name, for messages.
    const NAME: &'static str;
}

/// A kind of capability to a retyped object.
pub trait CapTypeForObject: CapType {
    /// The object's type.
    fn object_type() -> ObjectType;
}

/// An object whose type says its size.
pub trait CapTypeForObjectOfFixedSize: CapTypeForObject {
    /// What to retype.
    fn object_blueprint() -> ObjectBlueprint;
}

/// An object whose maker says its size.
pub trait CapTypeForObjectOfVariableSize: CapTypeForObject {
    /// What to retype.
    fn object_blueprint(size_bits: usize) -> ObjectBlueprint;
}

/// A frame of any size.
pub trait CapTypeForFrameObject: CapType {}

/// A frame of a known size.
pub trait CapTypeForFrameObjectOfFixedSize:
    CapTypeForObjectOfFixedSize + CapTypeForFrameObject
{
    /// Its size.
    const FRAME_OBJECT_TYPE: FrameObjectType;
}

/// A table of an address space.
pub trait CapTypeForTranslationTableObject: CapTypeForObjectOfFixedSize {
    /// Its level.
    const TRANSLATION_TABLE_OBJECT_TYPE: TranslationTableObjectType;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
            #[allow(non_camel_case_types)]
            pub struct $name;
            impl CapType for $name {
                const NAME: &'static str = stringify!($name);
            }
        )*

        /// Capabilities of each kind.
        pub mod cap {
            use crate::{Cap, NoExplicitInvocationContext, cap_type};
            $(
                $(#[$doc])*
                #[allow(non_camel_case_types)]
                pub type $name<C = NoExplicitInvocationContext> = Cap<cap_type::$name, C>;
            )*
            /// An address space.
            pub type VSpace<C = NoExplicitInvocationContext> = PML4<C>;
            /// The smallest frame.
            pub type Granule<C = NoExplicitInvocationContext> = _4k<C>;
        }
    };
}

kinds! {
    /// Untyped memory.
    Untyped,
    /// Endpoint.
    Endpoint,
    /// Notification.
    Notification,
    /// Thread.
    Tcb,
    /// Capability node.
    CNode,
    /// Authority over interrupt lines.
    IrqControl,
    /// One interrupt line.
    IrqHandler,
    /// Authority over scheduling domains.
    DomainSet,
    /// Authority over ASID pools.
    AsidControl,
    /// ASID pool.
    AsidPool,
    /// Nothing.
    Null,
    /// Of a kind not said.
    Unspecified,
    /// Frame of a size not said.
    UnspecifiedPage,
    /// Table of a level not said.
    UnspecifiedIntermediateTranslationTable,
    /// Reply object.
    Reply,
    /// Scheduling context.
    SchedContext,
    /// Authority to give processor time.
    SchedControl,
    /// 4 KiB frame.
    _4k,
    /// 2 MiB frame.
    LargePage,
    /// 1 GiB frame.
    HugePage,
    /// Address space.
    PML4,
    /// Second level of an address space.
    PDPT,
    /// Third level of an address space.
    PageDirectory,
    /// Last level of an address space.
    PageTable,
    /// Authority over I/O ports.
    IOPortControl,
    /// A range of I/O ports.
    IOPort,
    /// Virtual processor (Umbra).
    VCpu,
    /// Guest-physical space (Umbra).
    GuestPml4,
    /// Second level of a guest-physical space (Umbra).
    GuestPdpt,
    /// Third level of a guest-physical space (Umbra).
    GuestPageDirectory,
    /// Last level of a guest-physical space (Umbra).
    GuestPageTable,
    /// Shadow pool (Umbra).
    ShadowPool,
}

/// An address space.
pub type VSpace = PML4;
/// The smallest frame.
pub type Granule = _4k;

macro_rules! fixed {
    ($($name:ident: $ty:expr, $blueprint:expr;)*) => { $(
        impl CapTypeForObject for $name {
            fn object_type() -> ObjectType {
                $ty.into()
            }
        }
        impl CapTypeForObjectOfFixedSize for $name {
            fn object_blueprint() -> ObjectBlueprint {
                $blueprint.into()
            }
        }
    )* };
}

macro_rules! variable {
    ($($name:ident: $ty:expr, |$size:ident| $blueprint:expr;)*) => { $(
        impl CapTypeForObject for $name {
            fn object_type() -> ObjectType {
                $ty.into()
            }
        }
        impl CapTypeForObjectOfVariableSize for $name {
            fn object_blueprint($size: usize) -> ObjectBlueprint {
                $blueprint.into()
            }
        }
    )* };
}

fixed! {
    Endpoint: ObjectType::Endpoint, ObjectBlueprint::Endpoint;
    Notification: ObjectType::Notification, ObjectBlueprint::Notification;
    Tcb: ObjectType::Tcb, ObjectBlueprint::Tcb;
    Reply: ObjectType::Reply, ObjectBlueprint::Reply;
    _4k: ObjectTypeX86::_4k, ObjectBlueprintX86::_4k;
    LargePage: ObjectTypeX86::LargePage, ObjectBlueprintX86::LargePage;
    HugePage: ObjectTypeX64::HugePage, ObjectBlueprintX64::HugePage;
    PML4: ObjectTypeX64::PML4, ObjectBlueprintX64::PML4;
    PDPT: ObjectTypeX64::PDPT, ObjectBlueprintX64::PDPT;
    PageDirectory: ObjectTypeX86::PageDirectory, ObjectBlueprintX86::PageDirectory;
    PageTable: ObjectTypeX86::PageTable, ObjectBlueprintX86::PageTable;
    VCpu: ObjectTypeUmbra::VCpu, ObjectBlueprintUmbra::VCpu;
    GuestPml4: ObjectTypeUmbra::GuestPml4, ObjectBlueprintUmbra::GuestPml4;
    GuestPdpt: ObjectTypeUmbra::GuestPdpt, ObjectBlueprintUmbra::GuestPdpt;
    GuestPageDirectory: ObjectTypeUmbra::GuestPageDirectory, ObjectBlueprintUmbra::GuestPageDirectory;
    GuestPageTable: ObjectTypeUmbra::GuestPageTable, ObjectBlueprintUmbra::GuestPageTable;
}

variable! {
    Untyped: ObjectType::Untyped, |size_bits| ObjectBlueprint::Untyped { size_bits };
    CNode: ObjectType::CNode, |size_bits| ObjectBlueprint::CNode { size_bits };
    SchedContext: ObjectType::SchedContext, |size_bits| ObjectBlueprint::SchedContext { size_bits };
    ShadowPool: ObjectTypeUmbra::ShadowPool, |size_bits| ObjectBlueprintUmbra::ShadowPool { size_bits };
}

impl CapTypeForFrameObject for UnspecifiedPage {}

macro_rules! frames {
    ($($name:ident => $ty:ident;)*) => { $(
        impl CapTypeForFrameObject for $name {}
        impl CapTypeForFrameObjectOfFixedSize for $name {
            const FRAME_OBJECT_TYPE: FrameObjectType = FrameObjectType::$ty;
        }
    )* };
}

frames! {
    _4k => _4k;
    LargePage => LargePage;
    HugePage => HugePage;
}

macro_rules! tables {
    ($($name:ident,)*) => { $(
        impl CapTypeForTranslationTableObject for $name {
            const TRANSLATION_TABLE_OBJECT_TYPE: TranslationTableObjectType = TranslationTableObjectType::$name;
        }
    )* };
}

tables! { PML4, PDPT, PageDirectory, PageTable, }
