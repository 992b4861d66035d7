//! One comparator of the HPET (IA-PC HPET specification 1.0a, 2.3.8 to 2.3.9).

/// Bits of the timer configuration (2.3.8).
mod bits {
    pub const LEVEL: u64 = 1 << 1;
    pub const ENABLE: u64 = 1 << 2;
    pub const PERIODIC: u64 = 1 << 3;
    pub const CAN_REPEAT: u64 = 1 << 4;
    pub const IS_64_BIT: u64 = 1 << 5;
    pub const SET_VALUE: u64 = 1 << 6;
    pub const NARROW: u64 = 1 << 8;
    pub const ROUTE_SHIFT: u64 = 9;
    pub const ROUTE: u64 = 0x1f << ROUTE_SHIFT;
    pub const ROUTES_SHIFT: u64 = 32;
    /// Bits that software sets, without the route.
    pub const WRITABLE: u64 = LEVEL | ENABLE | PERIODIC | SET_VALUE | NARROW;
}

/// Interrupts a timer can be routed to, as an ICH has them (82801BA data sheet, HPET): 20 to 23, and for the third 11.
const ROUTES: [u64; 3] = [0x00f0_0000, 0x00f0_0000, 0x00f0_0800];

/// The comparator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Comparator {
    index: u8,
    configuration: u64,
    value: u64,
    period: u64,
    /// A match of a level-triggered timer that software has not cleared.
    status: bool,
    /// A match of an edge-triggered timer that nobody has taken.
    pulse: bool,
}

impl Comparator {
    pub(super) const fn new(index: u8) -> Self {
        Self {
            index,
            configuration: 0,
            value: u64::MAX,
            period: 0,
            status: false,
            pulse: false,
        }
    }

    pub(super) const fn configuration(&self) -> u64 {
        let fixed = bits::CAN_REPEAT | bits::IS_64_BIT | self.routes() << bits::ROUTES_SHIFT;
        (self.configuration & !bits::SET_VALUE) | fixed
    }

    pub(super) const fn value(&self) -> u64 {
        self.value
    }

    pub(super) const fn status(&self) -> bool {
        self.status
    }

    pub(super) const fn clear(&mut self) {
        self.status = false;
    }

    pub(super) const fn take_pulse(&mut self) -> bool {
        core::mem::replace(&mut self.pulse, false)
    }

    /// Whether there is such a match.
    pub(super) const fn has_pulse(&self) -> bool {
        self.pulse
    }

    /// Level of the interrupt output.
    pub(super) const fn interrupt(&self) -> bool {
        self.status && self.has(bits::ENABLE)
    }

    /// The interrupt it is routed to.
    pub(super) const fn route(&self) -> Option<u8> {
        let route = (self.configuration & bits::ROUTE) >> bits::ROUTE_SHIFT;
        if self.routes() >> route & 1 != 0 {
            Some(route as u8)
        } else {
            None
        }
    }

    /// Writes the configuration.
    pub(super) const fn configure(&mut self, value: u64, mask: u64) {
        let whole = self.configuration & !mask | value;
        let asked = (whole & bits::ROUTE) >> bits::ROUTE_SHIFT;
        let route = if self.routes() >> asked & 1 != 0 {
            whole & bits::ROUTE
        } else {
            self.configuration & bits::ROUTE
        };
        self.configuration = whole & bits::WRITABLE | route;
        if self.has(bits::NARROW) {
            self.value &= 0xffff_ffff;
            self.period &= 0xffff_ffff;
        }
        if !self.has(bits::LEVEL) {
            self.status = false;
        }
    }

    /// Writes the comparator. A repeating timer takes it as its period, and as the next match only after the
    /// configuration's set-value bit was written (2.3.9.2.2).
    pub(super) const fn set(&mut self, value: u64, mask: u64) {
        let narrow = if self.has(bits::NARROW) {
            0xffff_ffff
        } else {
            u64::MAX
        };
        if self.has(bits::PERIODIC) {
            self.period = (self.period & !mask | value) & narrow;
        }
        if !self.has(bits::PERIODIC) || self.has(bits::SET_VALUE) {
            self.value = (self.value & !mask | value) & narrow;
        }
        self.configuration &= !bits::SET_VALUE;
    }

    /// The counter went from `counter` by `passed` steps.
    pub(super) fn pass(&mut self, counter: u64, passed: u64) {
        let distance = self.distance(counter);
        if passed < distance {
            return;
        }
        if self.repeats() {
            let over = passed - distance;
            let periods = (over / self.period).saturating_add(1);
            self.value = self.narrowed(self.value.wrapping_add(periods.wrapping_mul(self.period)));
        }
        // The status does not ask whether the interrupt is enabled (2.3.8, Tn_INT_ENB_CNF).
        if self.has(bits::LEVEL) {
            self.status = true;
        } else {
            self.pulse |= self.has(bits::ENABLE);
        }
    }

    /// Steps from `counter` until the next interrupt.
    pub(super) fn ahead(&self, counter: u64) -> Option<u64> {
        let asks = self.has(bits::ENABLE) && !self.status;
        asks.then(|| self.distance(counter))
    }

    const fn routes(&self) -> u64 {
        ROUTES[(self.index % 3) as usize]
    }

    const fn has(&self, bit: u64) -> bool {
        self.configuration & bit != 0
    }

    const fn repeats(&self) -> bool {
        self.has(bits::PERIODIC) && self.period != 0
    }

    const fn narrowed(&self, value: u64) -> u64 {
        if self.has(bits::NARROW) {
            value & 0xffff_ffff
        } else {
            value
        }
    }

    /// Steps from `counter` to the next match: at least one; a whole turn when they are equal.
    const fn distance(&self, counter: u64) -> u64 {
        let ahead = self.narrowed(self.value.wrapping_sub(counter));
        match ahead {
            0 if self.has(bits::NARROW) => 1 << 32,
            0 => u64::MAX,
            ahead => ahead,
        }
    }
}
