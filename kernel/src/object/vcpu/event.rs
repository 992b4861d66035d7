//! Events on their way into the guest: the EXITINTINFO and EVENTINJ words (APM vol. 2, 15.7.2 and 15.20).

use super::Vcpu;
use words::svm::{event, vmcb};
use words::x86::{rflags, vector};

/// An EXITINTINFO or EVENTINJ word as both TCG and silicon mean it; 0 for none (APM vol. 2, 15.7.2 and 15.20; what TCG
/// does differs): software interrupts and INT3/INTO are not injected again (RIP still points at them), and an exception
/// type with a vector above 31 is an interrupt.
#[must_use]
pub fn normalise_event(word: u64) -> u64 {
    if word & event::VALID == 0 {
        return 0;
    }
    let number = word & 0xff;
    match word & event::TYPE_MASK {
        event::TYPE_EXCEPTION if number >= 32 => event::interrupt(number as u8),
        event::TYPE_EXCEPTION if number == 3 || number == 4 => 0,
        event::TYPE_SOFT => 0,
        _ => {
            word & (0xff | event::TYPE_MASK | event::ERROR_VALID | event::VALID | 0xffff_ffff << 32)
        }
    }
}

/// Whether the processor accepts an event for injection (APM vol. 2, 15.20).
#[must_use]
pub fn is_injectable(word: u64) -> bool {
    if word & event::VALID == 0 {
        return true;
    }
    let number = word & 0xff;
    match word & event::TYPE_MASK {
        event::TYPE_INTR | event::TYPE_NMI => true,
        event::TYPE_EXCEPTION => number < 31 && number != 2,
        _ => false,
    }
}

/// Whether the word is a fault: the handler returns to what raised it (APM vol. 2, table 8-1).
const fn is_fault(word: u64) -> bool {
    let other = matches!(
        word as u8,
        vector::DB | vector::NMI | vector::BP | vector::OF | vector::DF | vector::MC
    );
    word & event::VALID != 0 && word & event::TYPE_MASK == event::TYPE_EXCEPTION && !other
}

impl Vcpu {
    /// Has the processor deliver this event at the next VMRUN, in place of one that it was to deliver until now.
    pub(super) fn inject(&self, word: u64) {
        self.drop_mark();
        let word = if word & event::VALID == 0 { 0 } else { word };
        self.write(vmcb::EVENTINJ, word);
        self.mark_fault();
    }

    /// RFLAGS as a message has them, below what an event on its way adds.
    pub(super) fn write_flags(&self, flags: u64) {
        self.write(vmcb::RFLAGS, flags);
        self.marked.set(false);
        self.mark_fault();
    }

    /// After #VMEXIT: the event whose delivery it broke off is the handler's or is injected anew, and RFLAGS are the guest's.
    #[inline(always)]
    pub(super) fn take_event(&self) {
        let word = normalise_event(self.read(vmcb::EXITINTINFO));
        self.event.set(word);
        self.write(vmcb::EVENTINJ, 0);
        if word != 0 {
            self.drop_mark();
        }
        // What was delivered has pushed it.
        self.marked.set(false);
    }

    /// With a fault RFLAGS are pushed with RF set, so that the instruction's breakpoint is not met again when the handler
    /// returns (APM vol. 2, 3.1.6); a processor that injects pushes RFLAGS as it finds them.
    fn mark_fault(&self) {
        let flags = self.read(vmcb::RFLAGS);
        if is_fault(self.read(vmcb::EVENTINJ)) && flags & rflags::RF == 0 {
            self.write(vmcb::RFLAGS, flags | rflags::RF);
            self.marked.set(true);
        }
    }

    /// The event is not delivered after all: the guest's next instruction is to meet its breakpoint.
    fn drop_mark(&self) {
        if self.marked.take() {
            self.write(vmcb::RFLAGS, self.read(vmcb::RFLAGS) & !rflags::RF);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_interrupts_are_not_injected_again() {
        assert_eq!(normalise_event(event::VALID | event::TYPE_SOFT | 0x80), 0);
        assert_eq!(normalise_event(event::exception(3)), 0);
        assert_eq!(
            normalise_event(event::exception(0x30)),
            event::interrupt(0x30)
        );
        assert_eq!(
            normalise_event(event::exception_with_code(14, 2)),
            event::exception_with_code(14, 2)
        );
        assert_eq!(normalise_event(0x306), 0);
    }

    #[test]
    fn faults_are_told_from_traps_aborts_and_interrupts() {
        for (vector, fault) in [(0, true), (1, false), (3, false), (4, false), (6, true)] {
            assert_eq!(is_fault(event::exception(vector)), fault, "{vector}");
        }
        assert!(is_fault(event::exception_with_code(14, 2)));
        assert!(!is_fault(event::exception_with_code(8, 0)));
        assert!(!is_fault(event::interrupt(14)));
        assert!(!is_fault(event::exception(6) & !event::VALID));
    }

    #[test]
    fn events_the_processor_refuses_are_not_injectable() {
        assert!(is_injectable(0));
        assert!(is_injectable(event::exception(6)));
        assert!(!is_injectable(event::exception(2)));
        assert!(!is_injectable(event::exception(31)));
        assert!(!is_injectable(event::VALID | 1 << 8));
        assert!(!is_injectable(event::VALID | event::TYPE_SOFT | 0x80));
    }
}
