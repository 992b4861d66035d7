//! One channel of the 8254.
//!
//! A count written at tick t is in the counting element from t + 1 on. What the element shows at a later tick, and
//! where the output stands, follows from the [`Load`] in force; in the periodic modes a count written while counting
//! waits as the *next* load for the end of the (half) cycle, as the datasheet has it.

/// What an access to the data register moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Access {
    Low,
    High,
    LowThenHigh,
}

/// A count in the counting element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Load {
    /// 1 to 65536 (10000 in BCD).
    count: u64,
    /// The tick it takes effect.
    at: u64,
    /// Ticks of the cycle already over at that moment (mode 3, loaded for a low half).
    skip: u64,
}

impl Load {
    fn elapsed(self, now: u64) -> u64 {
        now.saturating_sub(self.at).saturating_add(self.skip)
    }

    /// Ticks the output is high at the start of a mode 3 cycle.
    fn high_half(self) -> u64 {
        self.count.div_ceil(2)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Channel {
    /// 0 to 5.
    mode: u8,
    bcd: bool,
    access: Access,
    gate: bool,
    /// When the gate stopped the counting (modes 0 and 4).
    paused: Option<u64>,
    current: Option<Load>,
    next: Option<Load>,
    /// Count register: what the next trigger loads (modes 1, 2, 3 and 5).
    register: Option<u64>,
    /// First byte of a count of two.
    low_written: Option<u8>,
    /// The next byte read is the high one.
    read_high: bool,
    latched: Option<u16>,
    status: Option<u8>,
}

impl Channel {
    pub(super) const fn new(gate: bool) -> Self {
        Self {
            mode: 3,
            bcd: false,
            access: Access::LowThenHigh,
            gate,
            paused: None,
            current: None,
            next: None,
            register: None,
            low_written: None,
            read_high: false,
            latched: None,
            status: None,
        }
    }

    /// A control word for this channel: the latch command, or a new mode.
    pub(super) fn control(&mut self, value: u8, now: u64) {
        let access = match value >> 4 & 3 {
            0 => return self.latch_count(now),
            1 => Access::Low,
            2 => Access::High,
            _ => Access::LowThenHigh,
        };
        let mode = value >> 1 & 7;
        *self = Self {
            mode: if mode > 5 { mode & 3 } else { mode },
            bcd: value & 1 != 0,
            access,
            ..Self::new(self.gate)
        };
        if !self.gate && self.pauses() {
            self.paused = Some(now);
        }
    }

    pub(super) fn latch_count(&mut self, now: u64) {
        if self.latched.is_none() {
            self.latched = Some(self.counting_element(now));
        }
    }

    pub(super) fn latch_status(&mut self, now: u64) {
        if self.status.is_some() {
            return;
        }
        let access = match self.access {
            Access::Low => 1,
            Access::High => 2,
            Access::LowThenHigh => 3,
        };
        self.status = Some(
            u8::from(self.output(now)) << 7
                | u8::from(self.null_count(now)) << 6
                | access << 4
                | self.mode << 1
                | u8::from(self.bcd),
        );
    }

    pub(super) fn read(&mut self, now: u64) -> u8 {
        if let Some(status) = self.status.take() {
            return status;
        }
        let value = self.latched.unwrap_or_else(|| self.counting_element(now));
        let [low, high] = value.to_le_bytes();
        match self.access {
            Access::Low => {
                self.latched = None;
                low
            }
            Access::High => {
                self.latched = None;
                high
            }
            Access::LowThenHigh if self.read_high => {
                self.read_high = false;
                self.latched = None;
                high
            }
            Access::LowThenHigh => {
                self.read_high = true;
                low
            }
        }
    }

    pub(super) fn write_count(&mut self, value: u8, now: u64) {
        let raw = match (self.access, self.low_written.take()) {
            (Access::Low, _) => u16::from(value),
            (Access::High, _) => u16::from(value) << 8,
            (Access::LowThenHigh, Some(low)) => u16::from_le_bytes([low, value]),
            (Access::LowThenHigh, None) => {
                self.low_written = Some(value);
                if self.mode == 0 {
                    // The first byte of a new count stops the counting and drives the output low.
                    self.current = None;
                }
                return;
            }
        };
        self.load(self.decode(raw), now);
    }

    pub(super) fn set_gate(&mut self, gate: bool, now: u64) {
        let was = core::mem::replace(&mut self.gate, gate);
        match (was, gate) {
            (false, true) => self.gate_rises(now),
            (true, false) if self.pauses() => self.paused = Some(now),
            _ => {}
        }
    }

    /// Level of the output.
    pub(super) fn output(&self, now: u64) -> bool {
        let Some(load) = self.in_force(now) else {
            return self.mode != 0;
        };
        let now = self.paused.unwrap_or(now);
        if now < load.at {
            return self.mode != 0;
        }
        let elapsed = load.elapsed(now);
        match self.mode {
            0 => elapsed >= load.count,
            1 => elapsed >= load.count,
            2 => !self.gate || elapsed % load.count != load.count - 1,
            3 => !self.gate || elapsed % load.count < load.high_half(),
            _ => elapsed != load.count,
        }
    }

    /// The first tick after `now` at which the output rises by itself.
    pub(super) fn next_rise(&self, now: u64) -> Option<u64> {
        if self.paused.is_some() || (!self.gate && self.periodic()) {
            return None;
        }
        let rise = |load: Load, from: u64| -> Option<u64> {
            let done = self.rises_of(load, from);
            self.rise_number(load, done)
        };
        let current = self.current?;
        match self.next {
            Some(next) if now >= next.at => rise(next, now),
            Some(next) => rise(current, now)
                .filter(|at| *at <= next.at)
                .or_else(|| rise(next, next.at)),
            None => rise(current, now),
        }
    }

    /// How often the output rose by itself after `from`, up to and including `to`.
    pub(super) fn rises(&self, from: u64, to: u64) -> u64 {
        if self.paused.is_some() || (!self.gate && self.periodic()) {
            return 0;
        }
        let between = |load: Load, from: u64, to: u64| {
            self.rises_of(load, to)
                .saturating_sub(self.rises_of(load, from))
        };
        match (self.current, self.next) {
            (None, _) => 0,
            (Some(current), None) => between(current, from, to),
            (Some(current), Some(next)) => {
                between(current, from, to.min(next.at)) + between(next, from.max(next.at), to)
            }
        }
    }

    /// Rises of the output under `load`, from its start up to and including `to`.
    fn rises_of(&self, load: Load, to: u64) -> u64 {
        if to < load.at {
            return 0;
        }
        let elapsed = load.elapsed(to);
        match self.mode {
            0 | 1 => u64::from(elapsed >= load.count),
            2 | 3 => elapsed / load.count,
            _ => u64::from(elapsed > load.count),
        }
    }

    /// The tick of the rise after `done` rises under `load`.
    fn rise_number(&self, load: Load, done: u64) -> Option<u64> {
        let elapsed = match self.mode {
            0 | 1 if done == 0 => load.count,
            2 | 3 => load.count.checked_mul(done.checked_add(1)?)?,
            4 | 5 if done == 0 => load.count + 1,
            _ => return None,
        };
        load.at.checked_add(elapsed.checked_sub(load.skip)?)
    }

    fn periodic(&self) -> bool {
        matches!(self.mode, 2 | 3)
    }

    /// A low gate stops the counting and keeps its state.
    fn pauses(&self) -> bool {
        matches!(self.mode, 0 | 4)
    }

    fn gate_rises(&mut self, now: u64) {
        match self.mode {
            0 | 4 => {
                if let (Some(since), Some(load)) = (self.paused.take(), &mut self.current) {
                    load.at = load.at.saturating_add(now.saturating_sub(since));
                }
            }
            _ => {
                // A trigger: the count register goes to the counting element. A pulse under way just gets longer.
                let pulse = self.mode == 1 && !self.output(now);
                self.next = None;
                self.current = self.register.map(|count| Load {
                    count,
                    at: now.saturating_add(u64::from(!pulse)),
                    skip: 0,
                });
            }
        }
    }

    /// A complete count was written.
    fn load(&mut self, count: u64, now: u64) {
        // The datasheet forbids 1 in the periodic modes; here it is as 2.
        let count = count.max(if self.periodic() { 2 } else { 1 });
        self.register = Some(count);
        let fresh = Load {
            count,
            at: now.saturating_add(1),
            skip: 0,
        };
        match self.mode {
            0 | 4 => {
                self.current = Some(fresh);
                self.paused = self.paused.map(|_| now);
            }
            2 | 3 => self.load_periodic(fresh, now),
            _ => {}
        }
    }

    fn load_periodic(&mut self, fresh: Load, now: u64) {
        self.current = self.in_force(now);
        self.next = match self.current {
            Some(load) if self.gate && now >= load.at => Some(self.at_cycle_end(load, fresh)),
            // Nothing counts yet (or the gate is low, and the trigger will load): the count takes effect at once.
            _ => {
                self.current = Some(fresh);
                None
            }
        };
    }

    /// `fresh`, put off to the end of the cycle (mode 3: half cycle) that is under way under `load` when it is written.
    fn at_cycle_end(&self, load: Load, fresh: Load) -> Load {
        let elapsed = load.elapsed(fresh.at);
        let into = elapsed % load.count;
        let half = load.high_half();
        let (left, skip) = match self.mode {
            _ if into == 0 => (0, 0),
            3 if into == half => (0, fresh.high_half()),
            3 if into < half => (half - into, fresh.high_half()),
            _ => (load.count - into, 0),
        };
        Load {
            at: fresh.at.saturating_add(left),
            skip,
            ..fresh
        }
    }

    fn in_force(&self, now: u64) -> Option<Load> {
        match self.next {
            Some(next) if now >= next.at => Some(next),
            _ => self.current,
        }
    }

    /// The count register holds a value the counting element has not taken yet. A low gate does not keep it from that (8254
    /// data sheet, modes 0 and 4).
    fn null_count(&self, now: u64) -> bool {
        match (self.next, self.current) {
            (Some(next), _) => now < next.at,
            (None, Some(load)) => {
                now < load.at || self.register.is_some_and(|count| count != load.count)
            }
            (None, None) => true,
        }
    }

    /// The counting element as the guest reads it.
    fn counting_element(&self, now: u64) -> u16 {
        let now = self.paused.unwrap_or(now);
        let Some(load) = self.in_force(now) else {
            return self.encode(self.register.unwrap_or(0));
        };
        if !self.gate && self.periodic() {
            return self.encode(load.count);
        }
        let elapsed = load.elapsed(now);
        self.encode(match self.mode {
            2 => load.count - elapsed % load.count,
            3 => square_count(load, elapsed % load.count),
            // After the terminal count the element wraps and counts on.
            _ => {
                let range = self.range();
                (load.count % range + range - elapsed % range) % range
            }
        })
    }

    fn range(&self) -> u64 {
        if self.bcd { 10_000 } else { 0x1_0000 }
    }

    /// The count a register value means: 0 is the whole range.
    fn decode(&self, raw: u16) -> u64 {
        let value = if self.bcd {
            (0..4).rev().fold(0, |sum, digit| {
                sum * 10 + u64::from(raw >> (4 * digit) & 0xf)
            }) % self.range()
        } else {
            u64::from(raw)
        };
        if value == 0 { self.range() } else { value }
    }

    fn encode(&self, count: u64) -> u16 {
        let value = (count % self.range()) as u16;
        if !self.bcd {
            return value;
        }
        (value % 10) | ((value / 10 % 10) << 4) | ((value / 100 % 10) << 8) | ((value / 1000) << 12)
    }
}

/// Mode 3 counts by two, once through the (even part of the) count for each half of the cycle.
fn square_count(load: Load, into: u64) -> u64 {
    let into_half = if into < load.high_half() {
        into
    } else {
        into - load.high_half()
    };
    (load.count & !1).saturating_sub(2 * into_half)
}
