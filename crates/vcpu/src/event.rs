//! Events on their way into the guest, and what becomes of two at once.
//!
//! The word is EVENTINJ's (APM vol. 2, 15.20). An intercepted exception never reaches the processor's own rules for
//! nested exceptions, so they are applied here (APM vol. 2, 8.2.9).

use words::svm::event;
use words::x86::vector;

/// An event to inject, or one whose delivery was interrupted. Always valid: "none" is `Option::None`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Event(u64);

/// Where the guest is as far as error codes go: real mode pushes none (APM vol. 2, 8.2.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Codes {
    /// CR0.PE is set.
    Pushed,
    /// CR0.PE is clear.
    None,
}

/// What an exception becomes when it meets an event in delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Merged {
    /// Inject this.
    Deliver(Event),
    /// Triple fault: the processor shuts down.
    Shutdown,
}

impl Event {
    /// The event of an EVENTINJ or EXITINTINFO word, if its valid bit is set.
    #[must_use]
    pub const fn from_word(word: u64) -> Option<Self> {
        if word & event::VALID == 0 {
            None
        } else {
            Some(Self(word))
        }
    }

    /// The word.
    #[must_use]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// An external interrupt.
    #[must_use]
    pub const fn interrupt(vector: u8) -> Self {
        Self(event::interrupt(vector))
    }

    /// A non-maskable interrupt.
    #[must_use]
    pub const fn nmi() -> Self {
        Self(event::VALID | event::TYPE_NMI | vector::NMI as u64)
    }

    /// Exception `vector`, with `code` where this vector has an error code and the mode pushes one.
    #[must_use]
    pub const fn exception(vector: u8, code: u32, codes: Codes) -> Self {
        match codes {
            Codes::Pushed if vector::has_error_code(vector) => {
                Self(event::exception_with_code(vector, code))
            }
            _ => Self(event::exception(vector)),
        }
    }

    /// The vector.
    #[must_use]
    pub const fn vector(self) -> u8 {
        self.0 as u8
    }

    /// Whether it is an exception (not an interrupt, an NMI or INTn).
    #[must_use]
    pub const fn is_exception(self) -> bool {
        self.0 & event::TYPE_MASK == event::TYPE_EXCEPTION
    }

    /// What to inject when this exception was raised while `first` was being delivered.
    #[must_use]
    pub const fn after(self, first: Option<Self>, codes: Codes) -> Merged {
        let Some(first) = first else {
            return Merged::Deliver(self);
        };
        if !first.is_exception() {
            return Merged::Deliver(self);
        }
        match (Class::of(first.vector()), Class::of(self.vector())) {
            (Class::DoubleFault, Class::Contributory | Class::PageFault) => Merged::Shutdown,
            (Class::Contributory, Class::Contributory)
            | (Class::PageFault, Class::Contributory | Class::PageFault) => {
                Merged::Deliver(Self::exception(vector::DF, 0, codes))
            }
            _ => Merged::Deliver(self),
        }
    }
}

/// The four classes of the double-fault rules (APM vol. 2, table 8-2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Benign,
    Contributory,
    PageFault,
    DoubleFault,
}

impl Class {
    const fn of(vector: u8) -> Self {
        match vector {
            vector::DE | vector::TS | vector::NP | vector::SS | vector::GP => Self::Contributory,
            vector::PF => Self::PageFault,
            vector::DF => Self::DoubleFault,
            _ => Self::Benign,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exception(vector: u8) -> Event {
        Event::exception(vector, 0, Codes::Pushed)
    }

    fn double_fault() -> Merged {
        Merged::Deliver(exception(vector::DF))
    }

    #[test]
    fn every_pair_of_exceptions_follows_the_table() {
        let contributory = |vector| [0, 10, 11, 12, 13].contains(&vector);
        for first in 0..32u8 {
            for second in 0..32u8 {
                let serious = contributory(second) || second == 14;
                let doubled = contributory(first) && contributory(second) || first == 14 && serious;
                let expected = if first == 8 && serious {
                    Merged::Shutdown
                } else if doubled {
                    double_fault()
                } else {
                    Merged::Deliver(exception(second))
                };
                let merged = exception(second).after(Some(exception(first)), Codes::Pushed);
                assert_eq!(merged, expected, "{first} then {second}");
            }
        }
    }

    #[test]
    fn an_exception_during_an_interrupt_is_delivered_alone() {
        for first in [Event::interrupt(14), Event::nmi(), Event(0x8000_0400 | 14)] {
            let merged = exception(vector::PF).after(Some(first), Codes::Pushed);
            assert_eq!(merged, Merged::Deliver(exception(vector::PF)));
        }
    }

    #[test]
    fn error_codes_go_with_their_vectors_and_never_into_real_mode() {
        assert_eq!(
            Event::exception(vector::PF, 6, Codes::Pushed).word(),
            0x6_8000_0b0e
        );
        assert_eq!(
            Event::exception(vector::PF, 6, Codes::None).word(),
            0x8000_030e
        );
        assert_eq!(
            Event::exception(vector::UD, 6, Codes::Pushed).word(),
            0x8000_0306
        );
    }

    #[test]
    fn a_word_without_the_valid_bit_is_no_event() {
        assert_eq!(Event::from_word(0x306), None);
    }
}
