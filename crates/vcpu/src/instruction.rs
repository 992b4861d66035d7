//! What becomes of the intercepted instructions that are not worth an exit class of their own.
//!
//! The guest is shown none of SVM, MONITOR, XSAVE, RDTSCP or INVPCID, so their instructions are undefined, as they are
//! on a processor without them. VMMCALL is a hypercall all the same: it is what guests of a hypervisor try.

use words::svm::exit;

/// The answer to such an exit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// #UD.
    Undefined,
    /// #GP(0).
    GeneralProtection,
    /// VMMCALL: a hypercall.
    Hypercall,
    /// Nothing to do: go on after it.
    Skip,
    /// A debug trap: go on after it and raise #DB.
    DebugTrap,
    /// IRET, intercepted before it is carried out because an NMI is being served.
    InterruptReturn,
    /// No answer: the VM stops. The text names what happened.
    Stop(&'static str),
}

/// INVLPGB, its illegal form, INVPCID, MCOMMIT and TLBSYNC (APM vol. 2, appendix C).
const NEWER: core::ops::RangeInclusive<u64> = 0xa0..=0xa4;

/// The answer for the SVM exit code `code`.
#[must_use]
pub fn answer(code: u32) -> Answer {
    match u64::from(code) {
        exit::VMRUN
        | exit::VMLOAD
        | exit::VMSAVE
        | exit::STGI
        | exit::CLGI
        | exit::SKINIT
        | exit::INVLPGA
        | exit::RSM
        | exit::MONITOR
        | exit::MWAIT
        | exit::MWAIT_ARMED
        | exit::XSETBV
        | exit::RDPRU
        | exit::RDTSCP => Answer::Undefined,
        code if NEWER.contains(&code) => Answer::Undefined,
        // There is no counter, so that every index is out of range, whatever CR4.PCE and the CPL (APM vol. 3).
        exit::RDPMC => Answer::GeneralProtection,
        // The guest's memory is write-back and its caches are the host's: nothing to write back for it.
        exit::INVD | exit::WBINVD => Answer::Skip,
        exit::VMMCALL => Answer::Hypercall,
        exit::ICEBP => Answer::DebugTrap,
        exit::IRET => Answer::InterruptReturn,
        exit::TASK_SWITCH => Answer::Stop("a task switch by hardware, which is not carried out"),
        exit::FERR_FREEZE => Answer::Stop("FERR freeze"),
        exit::INIT => Answer::Stop("INIT"),
        exit::SMI => Answer::Stop("SMI"),
        exit::RDTSC => Answer::Stop("RDTSC intercept nobody asked for"),
        _ => Answer::Stop("unknown exit"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_of_hidden_features_are_undefined() {
        for code in [0x73, 0x7a, 0x80, 0x82, 0x83, 0x84, 0x85, 0x86] {
            assert_eq!(answer(code), Answer::Undefined, "{code:#x}");
        }
        for code in [0x87, 0x8a, 0x8b, 0x8c, 0x8d, 0x8e, 0xa0, 0xa2, 0xa4] {
            assert_eq!(answer(code), Answer::Undefined, "{code:#x}");
        }
    }

    #[test]
    fn vmmcall_is_a_hypercall() {
        assert_eq!(answer(0x81), Answer::Hypercall);
    }

    #[test]
    fn cache_flushes_do_nothing_whichever_code_reports_them() {
        assert_eq!(answer(0x76), Answer::Skip);
        assert_eq!(answer(0x89), Answer::Skip);
    }

    #[test]
    fn what_has_no_answer_stops_the_vm_with_a_name() {
        for code in [0x7d, 0x7e, 0x6e, 0x400, 0xdead_beef] {
            assert!(matches!(answer(code), Answer::Stop(_)), "{code:#x}");
        }
    }
}
