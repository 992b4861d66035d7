//! The MC146818 real-time clock of a PC with its 128 bytes of battery-backed memory.
//!
//! `now` is a count of [`FREQUENCY`] ticks since any fixed moment and should not run backwards. Always: the time of day,
//! the update-in-progress bit and the three interrupt flags are functions of what was written and of `now`; whole
//! periods that nobody watched leave one flag, as on the chip. Writing a field out of its range counts as the nearest
//! value in it; the day of the week follows the date until the guest sets it otherwise.
//! Left to others: what time it is at the start, and the index register's NMI bit, which is not modelled.
//!
//! | actor | threat | mitigation |
//! | --- | --- | --- |
//! | guest | dates that do not exist | fields are clamped before they become a number of seconds |
//! | guest | an alarm that never matches, or a search for it | the search skips whole hours and minutes: some hundred steps |
//! | guest | the 8192 Hz periodic interrupt | one flag however many periods passed; the caller may space deadlines |
//! | guest | index beyond the memory | seven bits, 128 bytes |
//! | guest | turns its clock back | its own offset moves, nobody else's |

pub mod calendar;

use calendar::DateTime;

/// Ticks a second: the crystal.
pub const FREQUENCY: u64 = 32_768;
/// Update in progress is shown at least 244 µs before the second ends.
const UPDATE_TICKS: u64 = 8;

/// Register numbers.
mod register {
    pub const SECOND: u8 = 0x00;
    pub const SECOND_ALARM: u8 = 0x01;
    pub const MINUTE: u8 = 0x02;
    pub const MINUTE_ALARM: u8 = 0x03;
    pub const HOUR: u8 = 0x04;
    pub const HOUR_ALARM: u8 = 0x05;
    pub const WEEKDAY: u8 = 0x06;
    pub const DAY: u8 = 0x07;
    pub const MONTH: u8 = 0x08;
    pub const YEAR: u8 = 0x09;
    pub const A: u8 = 0x0a;
    pub const B: u8 = 0x0b;
    pub const C: u8 = 0x0c;
    pub const D: u8 = 0x0d;
    /// PC firmware's place for the century.
    pub const CENTURY: u8 = 0x32;
}

/// Register A.
mod a {
    pub const UPDATING: u8 = 0x80;
    pub const RATE: u8 = 0x0f;
    /// Divider: 32768 Hz crystal; periodic interrupt at 1024 Hz.
    pub const POWER_ON: u8 = 0x26;
    /// Divider values with both bits set hold the divider in reset.
    pub const DIVIDER_RESET: u8 = 0x60;
}

/// Register B; bits 4 to 6 enable the flags of register C in the same places.
mod b {
    pub const SET: u8 = 0x80;
    pub const BINARY: u8 = 0x04;
    pub const HOURS_24: u8 = 0x02;
}

/// Register C.
mod flag {
    pub const ANY: u8 = 0x80;
    pub const PERIODIC: u8 = 0x40;
    pub const ALARM: u8 = 0x20;
    pub const UPDATE: u8 = 0x10;
    pub const ALL: u8 = PERIODIC | ALARM | UPDATE;
}

/// Register D: battery good.
const VALID: u8 = 0x80;
/// An alarm byte from here on matches any value.
const ANY_VALUE: u8 = 0xc0;
/// The afternoon bit of hours in 12-hour form.
const AFTERNOON: u8 = 0x80;
const MEMORY: usize = 128;

/// RAM of the machine as firmware would describe it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ram {
    /// Bytes below 4 GiB.
    pub below_4g: u64,
    /// Bytes from 4 GiB on.
    pub above_4g: u64,
}

impl Ram {
    /// RAM that lies in one piece from address 0.
    #[must_use]
    pub const fn contiguous(bytes: u64) -> Self {
        const LIMIT: u64 = 4 << 30;
        if bytes > LIMIT {
            Self {
                below_4g: LIMIT,
                above_4g: bytes - LIMIT,
            }
        } else {
            Self {
                below_4g: bytes,
                above_4g: 0,
            }
        }
    }
}

/// The clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rtc {
    memory: [u8; MEMORY],
    index: u8,
    /// Seconds since 1970 at tick `since`.
    seconds: i64,
    since: u64,
    /// While the clock stands: its fields, which the guest may be setting one by one, in any order.
    set: Option<DateTime>,
    weekday_shift: u8,
    flags: u8,
    /// Flags are settled up to here.
    polled: u64,
}

impl Rtc {
    /// A clock that shows `unix_seconds` at `now`, in a machine with this RAM.
    #[must_use]
    pub fn new(unix_seconds: i64, now: u64, ram: Ram) -> Self {
        let mut memory = [0; MEMORY];
        memory[usize::from(register::A)] = a::POWER_ON;
        memory[usize::from(register::B)] = b::HOURS_24;
        describe(&mut memory, ram);
        Self {
            memory,
            index: 0,
            seconds: unix_seconds,
            since: now,
            set: None,
            weekday_shift: 0,
            flags: 0,
            polled: now,
        }
    }

    /// Writes the index register (bit 7, NMI mask, is not kept). It cannot be read.
    pub fn write_index(&mut self, value: u8) {
        self.index = value & 0x7f;
    }

    /// Reads the register chosen by the index.
    pub fn read_data(&mut self, now: u64) -> u8 {
        self.poll(now);
        let time = self.shown(now);
        match self.index {
            register::SECOND => self.encode(time.second),
            register::MINUTE => self.encode(time.minute),
            register::HOUR => self.encode_hour(time.hour),
            register::WEEKDAY => self.encode((time.weekday() - 1 + self.weekday_shift) % 7 + 1),
            register::DAY => self.encode(time.day),
            register::MONTH => self.encode(time.month),
            register::YEAR => self.encode((time.year % 100) as u8),
            register::CENTURY => self.encode((time.year / 100) as u8),
            register::A => {
                self.byte(register::A) | if self.updating(now) { a::UPDATING } else { 0 }
            }
            register::C => {
                let value = self.flags | if self.asks() { flag::ANY } else { 0 };
                self.flags = 0;
                value
            }
            register::D => VALID,
            index => self.byte(index),
        }
    }

    /// Writes the register chosen by the index.
    pub fn write_data(&mut self, value: u8, now: u64) {
        self.poll(now);
        match self.index {
            register::A => self.reconfigure(register::A, value & !a::UPDATING, now),
            register::B => self.reconfigure(register::B, value, now),
            register::C | register::D => {}
            register::SECOND
            | register::MINUTE
            | register::HOUR
            | register::WEEKDAY
            | register::DAY
            | register::MONTH
            | register::YEAR
            | register::CENTURY => self.set_field(value, now),
            index => self.memory[usize::from(index)] = value,
        }
    }

    /// Level of the interrupt line.
    pub fn interrupt(&mut self, now: u64) -> bool {
        self.poll(now);
        self.asks()
    }

    /// The tick, after `now`, at which the interrupt line rises, if nothing is accessed until then.
    pub fn next_interrupt(&mut self, now: u64) -> Option<u64> {
        self.poll(now);
        if self.asks() {
            return None;
        }
        let on = |bit| self.byte(register::B) & bit != 0;
        let periodic = self
            .period()
            .filter(|_| on(flag::PERIODIC))
            .and_then(|period| (now / period).checked_add(1)?.checked_mul(period));
        let runs = |bit| on(bit) && !self.stopped();
        let update = runs(flag::UPDATE).then_some(1);
        let alarm = runs(flag::ALARM)
            .then(|| self.alarm_after(self.time(now)))
            .flatten();
        let seconds = [update, alarm].into_iter().flatten().min();
        let second = seconds.and_then(|ahead| {
            let passed = now.saturating_sub(self.since) / FREQUENCY;
            self.since
                .checked_add(passed.checked_add(ahead)?.checked_mul(FREQUENCY)?)
        });
        [periodic, second].into_iter().flatten().min()
    }

    fn byte(&self, index: u8) -> u8 {
        self.memory[usize::from(index) % MEMORY]
    }

    fn asks(&self) -> bool {
        self.flags & self.byte(register::B) & flag::ALL != 0
    }

    /// The guest is setting the clock, or holds the divider.
    fn held(&self) -> bool {
        self.byte(register::B) & b::SET != 0
            || self.byte(register::A) & a::DIVIDER_RESET == a::DIVIDER_RESET
    }

    fn stopped(&self) -> bool {
        self.set.is_some()
    }

    /// The fields of date and time.
    fn shown(&self, now: u64) -> DateTime {
        self.set
            .unwrap_or_else(|| DateTime::from_unix(self.time(now)))
    }

    /// Seconds since 1970.
    fn time(&self, now: u64) -> i64 {
        if let Some(set) = self.set {
            return set.to_unix();
        }
        let passed = now.saturating_sub(self.since) / FREQUENCY;
        self.seconds
            .saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
    }

    fn updating(&self, now: u64) -> bool {
        let into = now.saturating_sub(self.since) % FREQUENCY;
        !self.stopped() && into >= FREQUENCY - UPDATE_TICKS
    }

    /// Ticks between periodic flags.
    fn period(&self) -> Option<u64> {
        match self.byte(register::A) & a::RATE {
            0 => None,
            // The two fastest settings repeat two slower ones with this crystal.
            rate @ 1..=2 => Some(1 << (rate + 6)),
            rate => Some(1 << (rate - 1)),
        }
    }

    /// Raises the flags of what happened since the last call.
    fn poll(&mut self, now: u64) {
        let from = self.polled;
        if now <= from {
            return;
        }
        self.polled = now;
        if self
            .period()
            .is_some_and(|period| now / period != from / period)
        {
            self.flags |= flag::PERIODIC;
        }
        let before = self.time(from);
        let passed = self.time(now).saturating_sub(before);
        if passed <= 0 {
            return;
        }
        self.flags |= flag::UPDATE;
        let alarm = self.alarm_after(before).map(i64::try_from);
        if alarm.is_some_and(|ahead| ahead.is_ok_and(|ahead| ahead <= passed)) {
            self.flags |= flag::ALARM;
        }
    }

    /// Seconds (1 to 86400) until the alarm matches next, if it ever does.
    fn alarm_after(&self, time: i64) -> Option<u64> {
        let second = self.alarm_field(register::SECOND_ALARM, 60)?;
        let minute = self.alarm_field(register::MINUTE_ALARM, 60)?;
        let hour = self.alarm_field(register::HOUR_ALARM, 24)?;
        let start = time.rem_euclid(86_400) + 1;
        for hours in start / 3600..=start / 3600 + 24 {
            if !hour.matches(hours % 24) {
                continue;
            }
            for minutes in hours * 60..hours * 60 + 60 {
                if !minute.matches(minutes % 60) || minutes * 60 + 59 < start {
                    continue;
                }
                let first = second.first_from((start - minutes * 60).max(0));
                if let Some(found) = first {
                    return u64::try_from(minutes * 60 + found - start + 1).ok();
                }
            }
        }
        None
    }

    fn alarm_field(&self, index: u8, range: u8) -> Option<Alarm> {
        let raw = self.byte(index);
        if raw >= ANY_VALUE {
            return Some(Alarm::Any);
        }
        let value = if index == register::HOUR_ALARM {
            self.decode_hour(raw)
        } else {
            self.decode(raw)
        };
        (value < range).then_some(Alarm::At(i64::from(value)))
    }

    /// Changes register A or B; stopping keeps the time shown, starting begins a second with it.
    fn reconfigure(&mut self, index: u8, value: u8, now: u64) {
        let shown = self.shown(now);
        self.memory[usize::from(index)] = value;
        if !self.held() {
            if let Some(set) = self.set.take() {
                self.seconds = set.to_unix();
                self.since = now;
            }
        } else if !self.stopped() {
            self.set = Some(shown);
        }
    }

    fn set_field(&mut self, raw: u8, now: u64) {
        let value = self.decode(raw);
        let mut time = self.shown(now);
        match self.index {
            register::SECOND => time.second = value,
            register::MINUTE => time.minute = value,
            register::HOUR => time.hour = self.decode_hour(raw),
            register::DAY => time.day = value,
            register::MONTH => time.month = value,
            register::YEAR => time.year = time.year / 100 * 100 + u16::from(value % 100),
            register::CENTURY => time.year = u16::from(value % 100) * 100 + time.year % 100,
            _ => {
                self.weekday_shift = (value % 7 + 13 - (time.weekday() - 1)) % 7;
                return;
            }
        }
        if self.set.is_some() {
            self.set = Some(time);
        } else {
            let ahead = time.to_unix().saturating_sub(self.time(now));
            self.seconds = self.seconds.saturating_add(ahead);
        }
    }

    fn encode(&self, value: u8) -> u8 {
        if self.byte(register::B) & b::BINARY != 0 {
            value
        } else {
            ((value / 10) << 4) | (value % 10)
        }
    }

    fn decode(&self, raw: u8) -> u8 {
        if self.byte(register::B) & b::BINARY != 0 {
            raw
        } else {
            (raw >> 4) * 10 + (raw & 0xf)
        }
    }

    fn encode_hour(&self, hour: u8) -> u8 {
        if self.byte(register::B) & b::HOURS_24 != 0 {
            return self.encode(hour);
        }
        // A guest that sets the clock may have written what is no hour.
        let twelve = (hour % 12 + 11) % 12 + 1;
        self.encode(twelve) | if hour >= 12 { AFTERNOON } else { 0 }
    }

    fn decode_hour(&self, raw: u8) -> u8 {
        if self.byte(register::B) & b::HOURS_24 != 0 {
            return self.decode(raw);
        }
        let twelve = self.decode(raw & !AFTERNOON);
        let afternoon = if raw & AFTERNOON != 0 { 12 } else { 0 };
        // A value that is no hour stays none, for alarms never to match it.
        if twelve > 12 {
            twelve.max(24)
        } else {
            twelve % 12 + afternoon
        }
    }
}

/// One field of the alarm.
#[derive(Clone, Copy)]
enum Alarm {
    Any,
    At(i64),
}

impl Alarm {
    fn matches(self, value: i64) -> bool {
        match self {
            Self::Any => true,
            Self::At(at) => at == value,
        }
    }

    /// The first match in `from..60`.
    fn first_from(self, from: i64) -> Option<i64> {
        match self {
            Self::Any => Some(from).filter(|from| *from < 60),
            Self::At(at) => Some(at).filter(|at| *at >= from),
        }
    }
}

/// What PC firmware leaves in the memory: equipment, RAM sizes, checksum.
fn describe(memory: &mut [u8; MEMORY], ram: Ram) {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    const BLOCK: u64 = 64 * KIB;
    let mut put = |at: usize, bytes: &[u8]| memory[at..at + bytes.len()].copy_from_slice(bytes);
    let word = |value: u64| u16::try_from(value).unwrap_or(u16::MAX).to_le_bytes();
    let base = word((ram.below_4g / KIB).min(640));
    let extended = word(ram.below_4g.saturating_sub(MIB) / KIB);
    let above_16m = word(ram.below_4g.saturating_sub(16 * MIB) / BLOCK);
    let above_4g = (ram.above_4g / BLOCK).min(0xff_ffff).to_le_bytes();
    // Equipment: floating-point unit; no floppy drive. What stays zero means: no drives (0x10, 0x12), no processors but
    // the first (0x5f), a cold start (0x0f).
    put(0x14, &[0x02]);
    put(0x15, &base);
    put(0x17, &extended);
    put(0x30, &extended);
    put(0x34, &above_16m);
    put(0x5b, &above_4g[..3]);
    let sum: u16 = memory[0x10..=0x2d]
        .iter()
        .map(|byte| u16::from(*byte))
        .sum();
    memory[0x2e..=0x2f].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-01-01 00:00:00.
    const START: i64 = 1_767_225_600;
    const S: u64 = FREQUENCY;

    fn clock() -> Rtc {
        Rtc::new(START, 0, Ram::contiguous(256 << 20))
    }

    fn get(rtc: &mut Rtc, index: u8, now: u64) -> u8 {
        rtc.write_index(index);
        rtc.read_data(now)
    }

    fn set(rtc: &mut Rtc, index: u8, value: u8, now: u64) {
        rtc.write_index(index);
        rtc.write_data(value, now);
    }

    fn shown(rtc: &mut Rtc, now: u64) -> [u8; 8] {
        [0x32, 9, 8, 7, 6, 4, 2, 0].map(|index| get(rtc, index, now))
    }

    #[test]
    fn it_shows_the_time_in_decimal_digits() {
        let mut rtc = clock();
        assert_eq!(shown(&mut rtc, 0), [0x20, 0x26, 1, 1, 5, 0, 0, 0]);
        let later = (31 * 86_400 + 13 * 3600 + 45 * 60 + 59) * S;
        assert_eq!(
            shown(&mut rtc, later),
            [0x20, 0x26, 2, 1, 1, 0x13, 0x45, 0x59]
        );
    }

    #[test]
    fn binary_and_twelve_hour_forms_are_the_guests_choice() {
        let mut rtc = clock();
        set(&mut rtc, 0x0b, 0x04, 0);
        assert_eq!(get(&mut rtc, 4, 0), 12);
        assert_eq!(get(&mut rtc, 4, 13 * 3600 * S), 0x81);
        assert_eq!(get(&mut rtc, 9, 0), 26);
        set(&mut rtc, 0x0b, 0x00, 0);
        assert_eq!(get(&mut rtc, 4, 23 * 3600 * S), 0x91);
        set(&mut rtc, 4, 0x92, 0);
        set(&mut rtc, 0x0b, 0x02, 0);
        assert_eq!(get(&mut rtc, 4, 0), 0x12);
    }

    #[test]
    fn setting_the_clock_stops_it_and_starts_a_second() {
        let mut rtc = clock();
        set(&mut rtc, 0x0b, 0x82, S / 2);
        for (index, value) in [
            (0, 0x30),
            (2, 0x59),
            (4, 0x23),
            (7, 0x29),
            (8, 0x02),
            (9, 0x28),
        ] {
            set(&mut rtc, index, value, 5 * S);
        }
        assert_eq!(get(&mut rtc, 0, 9 * S), 0x30);
        set(&mut rtc, 0x0b, 0x02, 10 * S + 7);
        assert_eq!(get(&mut rtc, 0, 11 * S + 6), 0x30);
        assert_eq!(get(&mut rtc, 0, 11 * S + 7), 0x31);
        assert_eq!(shown(&mut rtc, 41 * S), [0x20, 0x28, 3, 1, 4, 0, 0, 0]);
    }

    #[test]
    fn what_is_no_hour_can_be_written_and_read_in_twelve_hour_form() {
        let mut rtc = clock();
        set(&mut rtc, register::B, b::SET | b::BINARY | b::HOURS_24, 0);
        set(&mut rtc, register::HOUR, 250, 0);
        assert_eq!(get(&mut rtc, register::HOUR, 0), 250);
        set(&mut rtc, register::B, b::SET | b::BINARY, 0);
        assert_eq!(get(&mut rtc, register::HOUR, 0), AFTERNOON | 10);
    }

    #[test]
    fn the_weekday_can_be_set_apart_from_the_date() {
        let mut rtc = clock();
        for day in 1..=7 {
            set(&mut rtc, 6, day, 0);
            assert_eq!(get(&mut rtc, 6, 0), day);
            assert_eq!(get(&mut rtc, 6, 86_400 * S), day % 7 + 1);
        }
    }

    #[test]
    fn an_update_is_announced_before_the_second_ends() {
        let mut rtc = clock();
        assert_eq!(get(&mut rtc, 0x0a, S - 9), 0x26);
        assert_eq!(get(&mut rtc, 0x0a, S - 8), 0xa6);
        assert_eq!(get(&mut rtc, 0x0a, S), 0x26);
    }

    #[test]
    fn flags_rise_without_being_enabled_and_a_read_clears_them() {
        let mut rtc = clock();
        assert_eq!(get(&mut rtc, 0x0c, 31), 0x00);
        assert_eq!(get(&mut rtc, 0x0c, 32), 0x40);
        assert_eq!(get(&mut rtc, 0x0c, 2 * S), 0x50);
        assert_eq!(get(&mut rtc, 0x0c, 2 * S), 0x00);
        set(&mut rtc, 0x0b, 0x12, 2 * S);
        assert!(!rtc.interrupt(3 * S - 1));
        assert!(rtc.interrupt(3 * S));
        assert_eq!(get(&mut rtc, 0x0c, 3 * S), 0xd0);
        assert!(!rtc.interrupt(3 * S));
    }

    #[test]
    fn an_alarm_matches_its_fields() {
        let mut rtc = clock();
        for (index, value) in [(1, 0x05), (3, 0xff), (5, 0x01)] {
            set(&mut rtc, index, value, 0);
        }
        set(&mut rtc, 0x0a, 0x20, 0);
        set(&mut rtc, 0x0b, 0x22, 0);
        assert_eq!(rtc.next_interrupt(0), Some(3605 * S));
        assert!(!rtc.interrupt(3605 * S - 1));
        assert!(rtc.interrupt(3605 * S));
        assert_eq!(get(&mut rtc, 0x0c, 3605 * S), 0xb0);
        assert_eq!(rtc.next_interrupt(3605 * S), Some(3665 * S));
        set(&mut rtc, 5, 0x77, 3605 * S);
        assert_eq!(rtc.next_interrupt(3605 * S), None);
    }

    #[test]
    fn periodic_interrupts_have_the_chips_rates() {
        for (rate, hertz) in [(1, 256), (2, 128), (3, 8192), (6, 1024), (15, 2)] {
            let mut rtc = clock();
            set(&mut rtc, 0x0a, 0x20 | rate, 0);
            set(&mut rtc, 0x0b, 0x42, 0);
            assert_eq!(rtc.next_interrupt(0), Some(S / hertz));
        }
    }

    #[test]
    fn the_memory_tells_the_size_of_ram() {
        let mut rtc = Rtc::new(0, 0, Ram::contiguous(5 << 30));
        let word =
            |rtc: &mut Rtc, low| u16::from_le_bytes([get(rtc, low, 0), get(rtc, low + 1, 0)]);
        assert_eq!(word(&mut rtc, 0x15), 640);
        assert_eq!(word(&mut rtc, 0x17), 0xffff);
        assert_eq!(word(&mut rtc, 0x30), 0xffff);
        assert_eq!(word(&mut rtc, 0x34), 0xff00);
        assert_eq!(word(&mut rtc, 0x5b), 0x4000);
        let sum: u16 = (0x10..=0x2d)
            .map(|index| u16::from(get(&mut rtc, index, 0)))
            .sum();
        assert_eq!(
            u16::from_be_bytes([get(&mut rtc, 0x2e, 0), get(&mut rtc, 0x2f, 0)]),
            sum
        );
        let mut small = Rtc::new(0, 0, Ram::contiguous(64 << 20));
        assert_eq!(word(&mut small, 0x17), 63 * 1024);
        assert_eq!(word(&mut small, 0x34), 48 * 16);
        set(&mut small, 0x0f, 0x0a, 0);
        assert_eq!(get(&mut small, 0x0f, 0), 0x0a);
    }

    #[test]
    fn the_memory_tells_of_one_processor_and_no_drives() {
        let mut rtc = clock();
        for index in [0x0e, 0x0f, 0x10, 0x12, 0x5f] {
            assert_eq!(get(&mut rtc, index, 0), 0, "{index:#x}");
        }
        assert_eq!(get(&mut rtc, 0x14, 0), 0x02);
    }

    proptest! {
        #[test]
        fn the_next_alarm_is_the_first_second_that_matches(
            fields in proptest::array::uniform3(prop_oneof![0u8..62, Just(0xc0)]),
            start in 0i64..86_400,
        ) {
            let mut rtc = clock();
            set(&mut rtc, 0x0b, 0x06, 0);
            for (index, value) in [1, 3, 5].into_iter().zip(fields) {
                set(&mut rtc, index, value, 0);
            }
            let naive = (1..=86_400).find(|ahead| {
                let at = start + ahead;
                let now = [at % 60, at / 60 % 60, at / 3600 % 24];
                fields.iter().zip(now).all(|(field, now)| *field == 0xc0 || i64::from(*field) == now)
            });
            prop_assert_eq!(rtc.alarm_after(start).map(|ahead| ahead as i64), naive);
        }

        #[test]
        fn any_accesses_never_panic_and_the_next_interrupt_is_one(
            steps in proptest::collection::vec((any::<bool>(), any::<u8>(), any::<u8>(), prop_oneof![0u64..100, 0u64..100 * S, any::<u64>()]), 0..200),
        ) {
            let mut rtc = clock();
            let mut now = 0u64;
            for (write, index, value, step) in steps {
                now = now.saturating_add(step);
                // Half the accesses go where the clock's own registers are.
                let index = if value & 1 == 0 { index % 14 } else { index };
                if write { set(&mut rtc, index, value, now) } else { get(&mut rtc, index, now); }
                if let Some(next) = rtc.next_interrupt(now) {
                    prop_assert!(next > now);
                    prop_assert!(!rtc.clone().interrupt(next - 1));
                    prop_assert!(rtc.clone().interrupt(next));
                }
            }
        }
    }
}
