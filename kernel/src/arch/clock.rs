//! How fast the TSC and the local APIC's timer run, measured against the PIT.
//!
//! All three are read together, twice, some milliseconds apart. The processor may be taken away in between at any time
//! (by a hypervisor, or by the machine an emulator runs on), so each reading is the tightest of several.
#![allow(unsafe_code)] // The PIT's ports.

use super::apic::LocalApic;
use super::cpu;

/// The PIT's input clock in hertz.
const PIT_HZ: u64 = 1_193_182;
/// PIT ticks between the readings, at least: 10 ms.
const INTERVAL: u16 = 11_932;
/// Readings of which the tightest counts.
const READINGS: u32 = 16;
/// Measurements before the PIT is given up; one fails if the PIT's 55 ms ran out under it.
const ATTEMPTS: u32 = 20;
/// Polls in one measurement before it is given up.
const PATIENCE: u32 = 10_000_000;

const CHANNEL_2: u16 = 0x42;
const COMMAND: u16 = 0x43;
/// System control port B: bit 0 gates channel 2, bit 1 the speaker, bit 5 is channel 2's output.
const PORT_B: u16 = 0x61;

/// The PIT did not count.
#[derive(Debug)]
pub struct NoPit;

/// Measured speeds.
pub struct Speeds {
    /// TSC ticks a microsecond, rounded.
    pub tsc_mhz: u64,
    /// Timer ticks a TSC tick, with 32 fractional bits: an integer ratio would be late, or zero.
    pub timer_ratio: u64,
}

/// The three clocks at one moment.
struct Reading {
    tsc: u64,
    pit: u16,
    timer: u32,
    /// TSC ticks the reading took.
    width: u64,
}

/// Measures both clocks.
pub fn measure(apic: &LocalApic) -> Result<Speeds, NoPit> {
    let speeds = (0..ATTEMPTS).find_map(|_| attempt(apic)).ok_or(NoPit);
    apic.end_measurement();
    silence_channel_0();
    speeds
}

/// Stops the firmware's 18 Hz tick, so that the pin is still until somebody asks for it. Mode 0 without a count leaves the
/// output low.
fn silence_channel_0() {
    // SAFETY: the PIT does not write memory.
    unsafe { cpu::out8(COMMAND, 0b0011_0000) };
}

fn attempt(apic: &LocalApic) -> Option<Speeds> {
    start_channel_2();
    apic.start_measurement();
    let first = read_tightly(apic);
    for _ in 0..PATIENCE {
        if first.pit.wrapping_sub(read_pit()) >= INTERVAL {
            break;
        }
    }
    let last = read_tightly(apic);
    let pit = u64::from(first.pit.wrapping_sub(last.pit));
    let ran_out = cpu::in8(PORT_B) & 1 << 5 != 0;
    if ran_out || pit < INTERVAL.into() {
        return None;
    }
    let tsc = last.tsc - first.tsc;
    let timer = u64::from(last.timer.wrapping_sub(first.timer));
    let denominator = pit * 1_000_000;
    Some(Speeds {
        tsc_mhz: ((tsc * PIT_HZ + denominator / 2) / denominator).max(1),
        timer_ratio: (timer << 32) / tsc.max(1),
    })
}

/// Lets channel 2 count down once from its maximum (mode 0: the output rises at the end).
fn start_channel_2() {
    let port_b = cpu::in8(PORT_B) & !0b11;
    // SAFETY: the PIT does not write memory.
    unsafe {
        cpu::out8(PORT_B, port_b);
        cpu::out8(COMMAND, 0b1011_0000);
        cpu::out8(CHANNEL_2, 0xff);
        cpu::out8(CHANNEL_2, 0xff);
        cpu::out8(PORT_B, port_b | 0b01);
    }
}

/// Channel 2's count, latched so that its two bytes belong together.
fn read_pit() -> u16 {
    // SAFETY: as above.
    unsafe { cpu::out8(COMMAND, 0b1000_0000) };
    let low = cpu::in8(CHANNEL_2);
    u16::from_le_bytes([low, cpu::in8(CHANNEL_2)])
}

fn read_tightly(apic: &LocalApic) -> Reading {
    let mut best = read(apic);
    for _ in 1..READINGS {
        let next = read(apic);
        if next.width < best.width {
            best = next;
        }
    }
    best
}

fn read(apic: &LocalApic) -> Reading {
    let before = cpu::rdtsc();
    let pit = read_pit();
    let timer = apic.measured();
    let width = cpu::rdtsc() - before;
    Reading {
        tsc: before,
        pit,
        timer,
        width,
    }
}
