//! Names of the local APIC's registers and of their bits (APM vol. 2, 16.3.2, table 16-2).

/// A register, by its offset in the APIC's page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Register {
    Id,
    Version,
    TaskPriority,
    ArbitrationPriority,
    ProcessorPriority,
    EndOfInterrupt,
    RemoteRead,
    LogicalDestination,
    DestinationFormat,
    Spurious,
    InService(u16),
    TriggerMode(u16),
    Request(u16),
    ErrorStatus,
    CommandLow,
    CommandHigh,
    Local(Local),
    InitialCount,
    CurrentCount,
    Divide,
}

/// An entry of the local vector table, in the order of their registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Local {
    Timer,
    Thermal,
    Performance,
    Lint0,
    Lint1,
    Error,
}

/// Number of [`Local`] entries.
pub(super) const LOCALS: usize = 6;

impl Register {
    /// The register whose 16 bytes `offset` lies in.
    pub(super) const fn at(offset: u16) -> Option<Self> {
        Some(match offset & 0xff0 {
            0x020 => Self::Id,
            0x030 => Self::Version,
            0x080 => Self::TaskPriority,
            0x090 => Self::ArbitrationPriority,
            0x0a0 => Self::ProcessorPriority,
            0x0b0 => Self::EndOfInterrupt,
            0x0c0 => Self::RemoteRead,
            0x0d0 => Self::LogicalDestination,
            0x0e0 => Self::DestinationFormat,
            0x0f0 => Self::Spurious,
            slot @ 0x100..=0x170 => Self::InService((slot - 0x100) >> 4),
            slot @ 0x180..=0x1f0 => Self::TriggerMode((slot - 0x180) >> 4),
            slot @ 0x200..=0x270 => Self::Request((slot - 0x200) >> 4),
            0x280 => Self::ErrorStatus,
            0x300 => Self::CommandLow,
            0x310 => Self::CommandHigh,
            0x320 => Self::Local(Local::Timer),
            0x330 => Self::Local(Local::Thermal),
            0x340 => Self::Local(Local::Performance),
            0x350 => Self::Local(Local::Lint0),
            0x360 => Self::Local(Local::Lint1),
            0x370 => Self::Local(Local::Error),
            0x380 => Self::InitialCount,
            0x390 => Self::CurrentCount,
            0x3e0 => Self::Divide,
            _ => return None,
        })
    }
}

impl Local {
    /// Bits of the entry that software sets (APM vol. 2, 16.4); the others read as zero or as status.
    pub(super) const fn writable(self) -> u32 {
        match self {
            Self::Timer => lvt::VECTOR | lvt::MASKED | lvt::PERIODIC,
            Self::Lint0 | Self::Lint1 => lvt::VECTOR | lvt::DELIVERY | lvt::LEVEL | lvt::MASKED,
            Self::Thermal | Self::Performance | Self::Error => {
                lvt::VECTOR | lvt::DELIVERY | lvt::MASKED
            }
        }
    }
}

/// Bits of an entry of the local vector table.
pub(super) mod lvt {
    pub const VECTOR: u32 = 0xff;
    pub const DELIVERY: u32 = 7 << DELIVERY_SHIFT;
    pub const DELIVERY_SHIFT: u32 = 8;
    pub const REMOTE_IRR: u32 = 1 << 14;
    pub const LEVEL: u32 = 1 << 15;
    pub const MASKED: u32 = 1 << 16;
    pub const PERIODIC: u32 = 1 << 17;
}

/// Bits of the command register's low half (APM vol. 2, 16.5).
pub(super) mod command {
    pub const DELIVERY_SHIFT: u32 = 8;
    pub const LOGICAL: u32 = 1 << 11;
    pub const ASSERT: u32 = 1 << 14;
    pub const LEVEL: u32 = 1 << 15;
    pub const SHORTHAND_SHIFT: u32 = 18;
    /// What is kept: all but reserved bits and the two status fields, which read as idle.
    pub const KEPT: u32 = 0xff | 7 << 8 | LOGICAL | ASSERT | LEVEL | 3 << 18;
}

/// Bits of the spurious-interrupt register (APM vol. 2, 16.4.7).
pub(super) mod spurious {
    pub const VECTOR: u32 = 0xff;
    pub const ENABLE: u32 = 1 << 8;
    /// With the focus check.
    pub const KEPT: u32 = VECTOR | ENABLE | 1 << 9;
}

/// Bits of the error status register (APM vol. 2, 16.4.6).
pub(super) mod error {
    pub const SENT_ILLEGAL_VECTOR: u32 = 1 << 5;
    pub const RECEIVED_ILLEGAL_VECTOR: u32 = 1 << 6;
    pub const ILLEGAL_REGISTER: u32 = 1 << 7;
}
