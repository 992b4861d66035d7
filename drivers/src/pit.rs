//! Channel 0 of the machine's PIT as a one-shot timer.
//!
//! Always: the count is one of 16 bits, some 55 ms; what is farther off fires early, and whoever asked asks again.

use crate::Ports;
use devices::{clock::Clock, pit::FREQUENCY};

const CHANNEL: u8 = 0;
const CONTROL: u8 = 3;
/// Channel 0, low byte then high byte, mode 0: the output rises at the end of the count, and each count written is a new
/// one, whether the last has ended or not (8254 data sheet, mode 0).
const ONE_SHOT: u8 = 0x30;

/// The timer.
#[derive(Debug)]
pub struct Pit<P> {
    ports: P,
    clock: Clock,
}

impl<P: Ports> Pit<P> {
    /// The timer behind four ports.
    pub fn new(mut ports: P, tsc_mhz: u32) -> Self {
        ports.write(CONTROL, ONE_SHOT);
        Self {
            ports,
            clock: Clock::new(tsc_mhz, FREQUENCY),
        }
    }

    /// Sets the interrupt `tsc_ahead` time-stamp counts from now, or earlier if that is too far.
    pub fn arm(&mut self, tsc_ahead: u64) {
        let ticks = self.clock.ticks(tsc_ahead).saturating_add(1);
        let count = u16::try_from(ticks).unwrap_or(u16::MAX);
        for byte in count.to_le_bytes() {
            self.ports.write(CHANNEL, byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use devices::pit::Pit as Model;

    struct Fake(Model);

    impl Ports for Fake {
        fn read(&mut self, offset: u8) -> u8 {
            self.0.read(offset, 0)
        }
        fn write(&mut self, offset: u8, value: u8) {
            self.0.write(offset, value, 0);
        }
    }

    #[test]
    fn the_model_fires_when_it_was_asked_to() {
        let mut pit = Pit::new(Fake(Model::new(0)), 1000);
        // A millisecond is 1193 ticks and a bit.
        pit.arm(1_000_000);
        assert_eq!(pit.ports.0.next_edge(0), Some(1195));
        pit.arm(u64::MAX);
        assert_eq!(pit.ports.0.next_edge(0), Some(0x1_0000));
    }

    #[test]
    fn it_fires_again_after_it_has_fired() {
        let mut pit = Pit::new(Fake(Model::new(0)), 1000);
        pit.arm(0);
        assert_eq!(pit.ports.0.next_edge(0), Some(2));
        assert_eq!(pit.ports.0.next_edge(2), None);
        pit.arm(1_000_000);
        assert_eq!(pit.ports.0.next_edge(0), Some(1195));
    }
}
