//! The 8254 interval timer of a PC and the system control port (0x61) that gates and watches its third channel.
//!
//! `now` is a count of [`FREQUENCY`] ticks since any fixed moment (see [`Clock`](crate::clock::Clock) for the way from the
//! time-stamp counter) and should not run backwards; if it does, time stands still. Always: outputs and counts are
//! functions of what was written and of `now`; nothing has to be called in between, however long it was.
//!
//! Who wires channel 0 to an interrupt controller asks [`Pit::take_rises`] how often the output rose since the last
//! question, and gives the controller one low-high pulse if the answer is not 0 (a controller's input remembers one
//! edge, so more would be lost on a real machine too), then drives the line with [`Pit::irq0_level`].
//!
//! | actor | threat | mitigation |
//! | --- | --- | --- |
//! | guest | a tiny reload value: a storm of deadlines | missed rises are counted, not replayed; the caller may space deadlines |
//! | guest | a sleep of hours, then a question | closed formulas; no loop over ticks |
//! | guest | half-written counts, digits above 9 in BCD | the byte order is a state; digits are taken by weight, modulo the range |
//! | guest | measuring other domains by this clock | it has no finer or other time than the counter the guest reads anyway |
//! | caller | time that runs backwards | differences saturate at 0 |

mod channel;

use channel::Channel;

/// Ticks a second.
pub const FREQUENCY: u64 = 1_193_182;

/// Port 0x61: gate of channel 2.
const GATE2: u8 = 0x01;
/// Port 0x61: the bits that read back as written (gate, speaker, two error enables).
const STORED: u8 = 0x0f;
/// Port 0x61: toggles with every memory refresh.
const REFRESH: u8 = 0x10;
/// Port 0x61: output of channel 2.
const OUT2: u8 = 0x20;
/// Ticks between refreshes, channel 1's traditional count: 15 µs.
const REFRESH_TICKS: u64 = 18;
/// Register 3.
const CONTROL: u8 = 3;
/// Channel 0, count of two bytes, mode 2, binary.
const PERIODIC_WORD: u8 = 0x34;

/// The timer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pit {
    channels: [Channel; 3],
    port61: u8,
    /// Rises of channel 0's output before `counted_to` that nobody has taken.
    rises: u64,
    counted_to: u64,
}

impl Pit {
    /// The timer after power-on: no channel counts, outputs are high, channel 2's gate is closed.
    #[must_use]
    pub fn new(now: u64) -> Self {
        Self {
            channels: [Channel::new(true), Channel::new(true), Channel::new(false)],
            port61: 0,
            rises: 0,
            counted_to: now,
        }
    }

    /// The timer as a PC's firmware leaves it: channel 0 counts the time of day, once in 65536 ticks (18.2 times a second).
    #[must_use]
    pub fn after_firmware(now: u64) -> Self {
        let mut pit = Self::new(now);
        for (register, value) in [(CONTROL, PERIODIC_WORD), (0, 0), (0, 0)] {
            pit.write(register, value, now);
        }
        pit
    }

    /// Reads register 0 to 3 (higher bits of `register` are ignored). The control register cannot be read: all ones.
    pub fn read(&mut self, register: u8, now: u64) -> u8 {
        match self.channels.get_mut(usize::from(register & 3)) {
            Some(channel) => channel.read(now),
            None => 0xff,
        }
    }

    /// Writes register 0 to 3 (higher bits of `register` are ignored).
    pub fn write(&mut self, register: u8, value: u8, now: u64) {
        self.count_rises(now);
        let before = self.irq0_level(now);
        if register & 3 == CONTROL {
            self.control(value, now);
        } else if let Some(channel) = self.channels.get_mut(usize::from(register & 3)) {
            channel.write_count(value, now);
        }
        if !before && self.irq0_level(now) {
            self.rises = self.rises.saturating_add(1);
        }
    }

    /// Reads port 0x61.
    #[must_use]
    pub fn port61_read(&self, now: u64) -> u8 {
        let refresh = if (now / REFRESH_TICKS) % 2 == 1 {
            REFRESH
        } else {
            0
        };
        let out2 = if self.channels[2].output(now) {
            OUT2
        } else {
            0
        };
        self.port61 | refresh | out2
    }

    /// Writes port 0x61.
    pub fn port61_write(&mut self, value: u8, now: u64) {
        self.port61 = value & STORED;
        self.channels[2].set_gate(value & GATE2 != 0, now);
    }

    /// Level of channel 0's output.
    #[must_use]
    pub fn irq0_level(&self, now: u64) -> bool {
        self.channels[0].output(now)
    }

    /// How often channel 0's output rose since the last call.
    pub fn take_rises(&mut self, now: u64) -> u64 {
        self.count_rises(now);
        core::mem::take(&mut self.rises)
    }

    /// The tick, after `now`, at which channel 0's output rises next, if nothing is written until then.
    #[must_use]
    pub fn next_edge(&self, now: u64) -> Option<u64> {
        self.channels[0].next_rise(now)
    }

    fn count_rises(&mut self, now: u64) {
        let more = self.channels[0].rises(self.counted_to, now);
        self.rises = self.rises.saturating_add(more);
        self.counted_to = self.counted_to.max(now);
    }

    fn control(&mut self, value: u8, now: u64) {
        match self.channels.get_mut(usize::from(value >> 6)) {
            Some(channel) => channel.control(value, now),
            None => self.read_back(value, now),
        }
    }

    /// The read-back command: latches count (bit 5 clear) and status (bit 4 clear) of the chosen channels.
    fn read_back(&mut self, value: u8, now: u64) {
        for (index, channel) in self.channels.iter_mut().enumerate() {
            if value & (2 << index) == 0 {
                continue;
            }
            if value & 0x20 == 0 {
                channel.latch_count(now);
            }
            if value & 0x10 == 0 {
                channel.latch_status(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Programs channel `channel` in `mode` with a binary count of two bytes at tick `now`.
    fn program(pit: &mut Pit, channel: u8, mode: u8, count: u16, now: u64) {
        pit.write(CONTROL, channel << 6 | 0x30 | mode << 1, now);
        for byte in count.to_le_bytes() {
            pit.write(channel, byte, now);
        }
    }

    fn count(pit: &mut Pit, channel: u8, now: u64) -> u16 {
        pit.write(CONTROL, channel << 6, now);
        u16::from_le_bytes([pit.read(channel, now), pit.read(channel, now)])
    }

    /// Channel 0's output over the ticks, read one by one.
    fn wave(pit: &Pit, ticks: core::ops::Range<u64>) -> String {
        ticks
            .map(|now| if pit.irq0_level(now) { '-' } else { '_' })
            .collect()
    }

    #[test]
    fn mode_0_goes_high_once_after_the_count() {
        let mut pit = Pit::new(0);
        program(&mut pit, 0, 0, 3, 10);
        assert_eq!(wave(&pit, 10..17), "____---");
        assert_eq!(pit.next_edge(10), Some(14));
        assert_eq!(pit.next_edge(14), None);
        assert_eq!(count(&mut pit, 0, 12), 2);
        assert_eq!(count(&mut pit, 0, 15), 0xffff);
        assert_eq!(pit.take_rises(100), 1);
    }

    #[test]
    fn mode_2_is_low_for_the_last_tick_of_each_period() {
        let mut pit = Pit::new(0);
        program(&mut pit, 0, 2, 3, 0);
        assert_eq!(wave(&pit, 0..11), "---_--_--_-");
        assert_eq!(pit.next_edge(0), Some(4));
        assert_eq!(pit.next_edge(4), Some(7));
        assert_eq!(
            [1, 2, 3, 4].map(|now| count(&mut pit, 0, now)),
            [3, 2, 1, 3]
        );
        assert_eq!(pit.take_rises(10), 3);
        assert_eq!(pit.take_rises(10), 0);
    }

    #[test]
    fn firmware_leaves_channel_0_ticking_as_slowly_as_it_can() {
        let mut pit = Pit::after_firmware(1000);
        assert!(pit.irq0_level(1000));
        assert_eq!(pit.next_edge(1000), Some(1001 + 0x1_0000));
        assert_eq!(pit.take_rises(1000 + FREQUENCY), 18);
    }

    #[test]
    fn mode_3_is_a_square_with_the_odd_tick_high() {
        let mut pit = Pit::new(0);
        program(&mut pit, 0, 3, 5, 0);
        assert_eq!(wave(&pit, 1..12), "---__---__-");
        assert_eq!(
            [1, 2, 3, 4, 5].map(|now| count(&mut pit, 0, now)),
            [4, 2, 0, 4, 2]
        );
        program(&mut pit, 0, 3, 4, 20);
        assert_eq!(wave(&pit, 21..29), "--__--__");
        assert_eq!(
            [21, 22, 23, 24].map(|now| count(&mut pit, 0, now)),
            [4, 2, 4, 2]
        );
    }

    #[test]
    fn mode_4_strobes_once() {
        let mut pit = Pit::new(0);
        program(&mut pit, 0, 4, 3, 0);
        assert_eq!(wave(&pit, 0..8), "----_---");
        assert_eq!(pit.next_edge(0), Some(5));
        assert_eq!(pit.next_edge(5), None);
    }

    #[test]
    fn a_new_period_begins_when_the_old_one_ends() {
        let mut pit = Pit::new(0);
        program(&mut pit, 0, 2, 4, 0);
        for byte in [2, 0] {
            pit.write(0, byte, 6);
        }
        // Periods of four from tick 1 to 9, then of two.
        assert_eq!(wave(&pit, 1..14), "---_---_-_-_-");
        assert_eq!(pit.next_edge(6), Some(9));
        assert_eq!(pit.next_edge(9), Some(11));
        assert_eq!(pit.take_rises(13), 4);
    }

    #[test]
    fn a_new_square_begins_with_the_next_half() {
        let mut pit = Pit::new(0);
        program(&mut pit, 0, 3, 8, 0);
        for byte in [4, 0] {
            pit.write(0, byte, 2);
        }
        assert_eq!(wave(&pit, 1..14), "----__--__--_");
    }

    #[test]
    fn hours_of_missed_ticks_are_a_number_not_a_loop() {
        let mut pit = Pit::new(0);
        program(&mut pit, 0, 2, 2, 0);
        assert_eq!(pit.take_rises(1 + 2 * 1_000_000_000_000), 1_000_000_000_000);
    }

    #[test]
    fn channel_2_waits_for_its_gate_and_shows_its_output_in_port_61() {
        let mut pit = Pit::new(0);
        program(&mut pit, 2, 0, 100, 0);
        assert_eq!(pit.port61_read(5000) & OUT2, 0);
        pit.port61_write(0x01, 5000);
        assert_eq!(pit.port61_read(5100) & 0x2f, 0x01);
        assert_eq!(pit.port61_read(5101) & 0x2f, 0x21);
        // Closed, it holds.
        program(&mut pit, 2, 0, 100, 6000);
        pit.port61_write(0x00, 6051);
        assert_eq!(count(&mut pit, 2, 9000), 50);
        pit.port61_write(0x01, 9000);
        assert_eq!(count(&mut pit, 2, 9010), 40);
    }

    #[test]
    fn a_calibration_sees_the_output_fall_at_the_control_word_and_rise_after_the_count() {
        const COUNT: u16 = 59_659;
        let mut pit = Pit::new(0);
        let before = pit.port61_read(10);
        pit.port61_write(before & !0x02 | GATE2, 10);
        pit.write(CONTROL, 0xb0, 20);
        assert_eq!(pit.port61_read(20) & OUT2, 0);
        for byte in COUNT.to_le_bytes() {
            pit.write(2, byte, 30);
        }
        let end = 31 + u64::from(COUNT);
        assert_eq!(pit.port61_read(end - 1) & OUT2, 0);
        assert_ne!(pit.port61_read(end) & OUT2, 0);
        // Both bytes in turn, without a latch, as the counter runs down.
        let passed = |bytes: [u8; 2]| COUNT - u16::from_le_bytes(bytes);
        let bytes = [pit.read(2, 131), pit.read(2, 131)];
        assert_eq!(passed(bytes), 100);
        let bytes = [pit.read(2, 1031), pit.read(2, 1031)];
        assert_eq!(passed(bytes), 1000);
    }

    #[test]
    fn a_gate_triggers_a_one_shot_again_and_again() {
        let mut pit = Pit::new(0);
        program(&mut pit, 2, 1, 10, 0);
        assert_ne!(pit.port61_read(50) & OUT2, 0);
        for start in [100, 200] {
            pit.port61_write(0x01, start);
            pit.port61_write(0x00, start + 5);
            assert_eq!(pit.port61_read(start + 1) & OUT2, 0);
            assert_eq!(pit.port61_read(start + 10) & OUT2, 0);
            assert_ne!(pit.port61_read(start + 11) & OUT2, 0);
        }
        pit.port61_write(0x01, 300);
        pit.port61_write(0x00, 302);
        assert!((301..305).all(|now| pit.port61_read(now) & OUT2 == 0));
        pit.port61_write(0x01, 305);
        assert!((305..315).all(|now| pit.port61_read(now) & OUT2 == 0));
    }

    #[test]
    fn the_refresh_bit_toggles() {
        let pit = Pit::new(0);
        let changes = (0..1000)
            .filter(|now| (pit.port61_read(*now) ^ pit.port61_read(now + 1)) & REFRESH != 0);
        assert_eq!(changes.count(), 55);
    }

    #[test]
    fn a_latched_count_stands_until_it_is_read() {
        let mut pit = Pit::new(0);
        program(&mut pit, 0, 2, 1000, 0);
        pit.write(CONTROL, 0, 1);
        pit.write(CONTROL, 0, 500);
        assert_eq!([pit.read(0, 600), pit.read(0, 700)], [0xe8, 0x03]);
        assert_eq!(pit.read(0, 701), 300u16.to_le_bytes()[0]);
    }

    #[test]
    fn read_back_latches_status_then_count() {
        let mut pit = Pit::new(0);
        pit.write(CONTROL, 0x34, 0);
        pit.write(CONTROL, 0xe2, 0);
        // Output high, count not loaded, both bytes, mode 2.
        assert_eq!(pit.read(0, 0), 0xf4);
        program(&mut pit, 0, 2, 1000, 0);
        pit.write(CONTROL, 0xc2, 1);
        assert_eq!(
            [pit.read(0, 2), pit.read(0, 3), pit.read(0, 4)],
            [0xb4, 0xe8, 0x03]
        );
    }

    #[test]
    fn a_count_is_taken_while_the_gate_is_low() {
        for mode in [0, 4] {
            let mut pit = Pit::new(0);
            program(&mut pit, 2, mode, 0xe51a, 100);
            let mut status = |now| {
                pit.write(CONTROL, 0xe8, now);
                [pit.read(2, now), pit.read(2, now), pit.read(2, now)]
            };
            // Count not loaded, or loaded; both bytes; and the count, which stands.
            let [waiting, ..] = status(100);
            assert_eq!(waiting & 0x7f, 0x70 | mode << 1);
            for now in [101, 5000] {
                let [loaded, low, high] = status(now);
                assert_eq!(loaded & 0x7f, 0x30 | mode << 1);
                assert_eq!([low, high], [0x1a, 0xe5]);
            }
        }
    }

    #[test]
    fn bcd_counts_in_decimal() {
        let mut pit = Pit::new(0);
        pit.write(CONTROL, 0x35, 0);
        pit.write(0, 0x00, 0);
        pit.write(0, 0x01, 0);
        assert_eq!(pit.next_edge(0), Some(101));
        assert_eq!(count(&mut pit, 0, 2), 0x0099);
        pit.write(CONTROL, 0x31, 200);
        pit.write(0, 0, 200);
        pit.write(0, 0, 200);
        assert_eq!(count(&mut pit, 0, 201), 0);
        assert_eq!(count(&mut pit, 0, 202), 0x9999);
        assert_eq!(pit.next_edge(200), Some(10_201));
    }

    #[test]
    fn single_byte_access_moves_that_byte() {
        let mut pit = Pit::new(0);
        pit.write(CONTROL, 0x14, 0);
        pit.write(0, 7, 0);
        assert_eq!(pit.next_edge(0), Some(8));
        assert_eq!(pit.read(0, 2), 6);
        pit.write(CONTROL, 0x24, 0);
        pit.write(0, 1, 0);
        assert_eq!(pit.next_edge(0), Some(257));
    }

    #[test]
    fn linux_calibration_sees_a_falling_high_byte() {
        let mut pit = Pit::new(0);
        pit.port61_write(0x01, 0);
        pit.write(CONTROL, 0xb0, 0);
        pit.write(2, 0xff, 0);
        pit.write(2, 0xff, 0);
        let mut high = |now| {
            pit.read(2, now);
            pit.read(2, now)
        };
        assert_eq!(
            [high(1), high(256), high(257), high(513)],
            [0xff, 0xff, 0xfe, 0xfd]
        );
    }

    proptest! {
        #[test]
        fn edges_and_rises_agree_with_the_output_tick_by_tick(
            mode in 0u8..6,
            first in 1u16..40,
            second in 1u16..40,
            rewrite in 1u64..60,
        ) {
            let mut pit = Pit::new(0);
            program(&mut pit, 0, mode, first, 0);
            pit.take_rises(0);
            for byte in second.to_le_bytes() {
                pit.write(0, byte, rewrite);
            }
            pit.take_rises(rewrite);
            let mut expected = 0;
            for now in rewrite..rewrite + 300 {
                let rises = !pit.irq0_level(now) && pit.irq0_level(now + 1);
                prop_assert_eq!(pit.next_edge(now) == Some(now + 1), rises, "mode {} at {}", mode, now);
                expected += u64::from(rises);
            }
            prop_assert_eq!(pit.take_rises(rewrite + 300), expected);
        }

        #[test]
        fn any_accesses_never_panic_and_edges_lie_ahead(
            steps in proptest::collection::vec((0u8..4, 0u8..4, any::<u8>(), prop_oneof![0u64..5, 0u64..100_000, any::<u64>()]), 0..200),
        ) {
            let mut pit = Pit::new(0);
            let mut now = 0u64;
            for (what, register, value, step) in steps {
                now = now.saturating_add(step);
                match what {
                    0 => { pit.read(register, now); }
                    1 => pit.write(register, value, now),
                    2 => pit.port61_write(value, now),
                    _ => {
                        prop_assert_eq!(pit.port61_read(now) & 0xc0, 0);
                        pit.take_rises(now);
                    }
                }
                if let Some(next) = pit.next_edge(now) {
                    prop_assert!(next > now);
                    prop_assert!(pit.irq0_level(next));
                    prop_assert!(pit.clone().take_rises(next) > 0);
                }
            }
        }
    }
}
