//! Models of a PC's devices, one module a model.
//!
//! Always: a model knows registers by name or offset, never a port number, an interrupt controller or a kernel; an access
//! goes in, a value and effects come out. Time is an argument. No access panics, none allocates, each is bounded.
//! Left to others: which port a register sits at, whose line a model drives, where bytes go.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod clock;
pub mod debug_ports;
pub mod exit_port;
pub mod fw_cfg;
pub mod hpet;
pub mod ioapic;
pub mod lapic;
pub mod message;
pub mod pci;
pub mod pic;
pub mod pit;
pub mod pm;
pub mod ps2_reset;
pub mod rtc;
pub mod test_device;
pub mod uart16550;

/// The low `size` bytes (1, 2; any other: 4) of a value.
#[must_use]
pub const fn cut(size: u8, value: u32) -> u32 {
    match size {
        1 => value & 0xff,
        2 => value & 0xffff,
        _ => value,
    }
}
