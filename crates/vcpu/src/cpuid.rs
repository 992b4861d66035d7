//! What CPUID tells the guest: a table of what is passed on from the host, everything else denied.
//!
//! A feature is shown when the host has it *and* Umbra carries it for a guest. The local APIC and the TSC's adjustment are
//! Umbra's own: the one is shown while it is switched on, the other always. Not carried, and so hidden: SVM,
//! the x2APIC and the TSC-deadline timer, machine checks, PCID and 57-bit addresses, XSAVE and all that needs it, MONITOR,
//! RDTSCP and RDPID (TSC_AUX is not switched), FFXSR, hyper-threading. Leaves: APM vol. 3, appendix E.

use crate::control::Limits;
use words::x86::{cr4, efer};

/// The four result registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)] // the names are the registers'
pub struct Leaf {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

/// The machine's own CPUID.
pub trait Host {
    /// The results for (`leaf`, `subleaf`).
    fn cpuid(&self, leaf: u32, subleaf: u32) -> Leaf;
}

impl<F: Fn(u32, u32) -> Leaf> Host for F {
    fn cpuid(&self, leaf: u32, subleaf: u32) -> Leaf {
        self(leaf, subleaf)
    }
}

/// Highest basic leaf shown.
const MAX_BASIC: u32 = 7;
/// Highest extended leaf shown.
const MAX_EXTENDED: u32 = 0x8000_0008;
/// The one hypervisor leaf.
pub const HYPERVISOR: u32 = 0x4000_0000;
/// What it says in EBX, ECX, EDX.
pub const HYPERVISOR_VENDOR: &[u8; 12] = b"UmbraUmbra  ";
/// Widest physical address shown: what the shadow and the guest-physical space are built for.
const MAX_PHYSICAL_WIDTH: u32 = 40;
/// Linear address width: four levels.
const LINEAR_WIDTH: u32 = 48;

const fn bits(numbers: &[u32]) -> u32 {
    let mut set = 0;
    let mut index = 0;
    while index < numbers.len() {
        set |= 1 << numbers[index];
        index += 1;
    }
    set
}

/// Leaf 1 ECX: SSE3, PCLMULQDQ, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, MOVBE, POPCNT, AES, RDRAND.
const LEAF1_ECX: u32 = bits(&[0, 1, 9, 13, 19, 20, 22, 23, 25, 30]);
/// Leaf 1 ECX: a hypervisor is present.
const HYPERVISOR_PRESENT: u32 = bits(&[31]);
/// Leaf 1 EDX: FPU, VME, DE, PSE, TSC, MSR, PAE, CX8, SEP, MTRR, PGE, CMOV, PAT, PSE36, CLFLUSH, MMX, FXSR, SSE, SSE2.
const LEAF1_EDX: u32 = bits(&[
    0, 1, 2, 3, 4, 5, 6, 8, 11, 12, 13, 15, 16, 17, 19, 23, 24, 25, 26,
]);
/// Leaf 1 EBX: CLFLUSH line size. The local APIC's number (bits 31..24) is 0.
const LEAF1_EBX: u32 = 0xff00;
/// Leaf 1 EBX: one logical processor.
const ONE_PROCESSOR: u32 = 1 << 16;
/// Leaf 1 EDX and 8000_0001 EDX: the local APIC.
const APIC: u32 = bits(&[9]);
/// Leaf 7 EBX: FSGSBASE, BMI1, SMEP, BMI2, ERMS, RDSEED, ADX, SMAP, CLFLUSHOPT, CLWB, SHA.
const LEAF7_EBX: u32 = bits(&[0, 3, 7, 8, 9, 18, 19, 20, 23, 24, 29]);
/// Leaf 7 EBX: the TSC can be adjusted. Umbra's own, whatever the host has.
const TSC_ADJUST: u32 = bits(&[1]);
/// Leaf 7 ECX: UMIP.
const LEAF7_ECX: u32 = bits(&[2]);
/// Leaf 7 EDX: fast short REP MOVSB.
const LEAF7_EDX: u32 = bits(&[4]);
/// Leaf 8000_0001 ECX: LAHF, ABM, SSE4A, misaligned SSE, PREFETCHW.
const EXTENDED1_ECX: u32 = bits(&[0, 5, 6, 7, 8]);
/// Leaf 8000_0001 EDX, its own bits: SYSCALL, NX, MMX extensions, 1 GiB pages, long mode, 3DNow! and its extensions.
const EXTENDED1_EDX: u32 = bits(&[11, 20, 22, 26, 29, 30, 31]);
/// Leaf 8000_0001 EDX, bits repeated from leaf 1: 0..=9, 12..=17, 23, 24. Bit 11 means something else there.
const REPEATED_EDX: u32 = LEAF1_EDX & 0x0183_f3ff;
/// Leaf 8000_0007 EDX: the TSC's rate does not change.
const INVARIANT_TSC: u32 = bits(&[8]);

/// Answers CPUID to a guest whose local APIC is switched on (`apic`) or not (APM vol. 2, 16.3.1).
#[must_use]
pub fn answer(leaf: u32, subleaf: u32, apic: bool, host: &impl Host) -> Leaf {
    let mut answer = table(leaf, subleaf, host);
    if apic && matches!(leaf, 1 | 0x8000_0001) && answer != Leaf::default() {
        answer.edx |= APIC;
    }
    answer
}

fn table(leaf: u32, subleaf: u32, host: &impl Host) -> Leaf {
    match leaf {
        0..=MAX_BASIC => basic(leaf, subleaf, host),
        HYPERVISOR => hypervisor(),
        0x8000_0000..=MAX_EXTENDED => extended(leaf, host),
        _ => Leaf::default(),
    }
}

fn basic(leaf: u32, subleaf: u32, host: &impl Host) -> Leaf {
    let max = host.cpuid(0, 0).eax;
    let given = host.cpuid(leaf, subleaf);
    match (leaf, subleaf) {
        _ if leaf > max => Leaf::default(),
        (0, _) => Leaf {
            eax: max.min(MAX_BASIC),
            ..given
        },
        (1, _) => Leaf {
            eax: given.eax,
            ebx: given.ebx & LEAF1_EBX | ONE_PROCESSOR,
            ecx: given.ecx & LEAF1_ECX | HYPERVISOR_PRESENT,
            edx: given.edx & LEAF1_EDX,
        },
        (7, 0) => Leaf {
            eax: 0,
            ebx: given.ebx & LEAF7_EBX | TSC_ADJUST,
            ecx: given.ecx & LEAF7_ECX,
            edx: given.edx & LEAF7_EDX,
        },
        _ => Leaf::default(),
    }
}

fn hypervisor() -> Leaf {
    let word = |at: usize| {
        let [a, b, c, d] = [0, 1, 2, 3].map(|byte| HYPERVISOR_VENDOR[at + byte]);
        u32::from_le_bytes([a, b, c, d])
    };
    Leaf {
        eax: HYPERVISOR,
        ebx: word(0),
        ecx: word(4),
        edx: word(8),
    }
}

fn extended(leaf: u32, host: &impl Host) -> Leaf {
    let max = host.cpuid(0x8000_0000, 0).eax;
    let given = host.cpuid(leaf, 0);
    match leaf {
        _ if leaf > max => Leaf::default(),
        0x8000_0000 => Leaf {
            eax: max.min(MAX_EXTENDED),
            ..given
        },
        0x8000_0001 => Leaf {
            eax: given.eax,
            ebx: 0,
            ecx: given.ecx & EXTENDED1_ECX,
            edx: given.edx & (EXTENDED1_EDX | REPEATED_EDX),
        },
        // The brand string, and the shape of the first two cache levels.
        0x8000_0002..=0x8000_0006 => given,
        0x8000_0007 => Leaf {
            edx: given.edx & INVARIANT_TSC,
            ..Leaf::default()
        },
        0x8000_0008 => Leaf {
            eax: physical_width(host) | LINEAR_WIDTH << 8,
            ..Leaf::default()
        },
        _ => Leaf::default(),
    }
}

fn physical_width(host: &impl Host) -> u32 {
    let has_leaf = host.cpuid(0x8000_0000, 0).eax >= 0x8000_0008;
    let width = if has_leaf {
        host.cpuid(0x8000_0008, 0).eax & 0xff
    } else {
        36
    };
    width.clamp(32, MAX_PHYSICAL_WIDTH)
}

/// CR4 bits that every processor with SVM has.
const CR4_ALWAYS: u64 = cr4::VME
    | cr4::PVI
    | cr4::TSD
    | cr4::DE
    | cr4::PSE
    | cr4::PAE
    | cr4::MCE
    | cr4::PGE
    | cr4::PCE
    | cr4::OSFXSR
    | cr4::OSXMMEXCPT;

/// The control-register bits that follow from the CPUID shown.
#[must_use]
pub fn limits(host: &impl Host) -> Limits {
    let seven = table(7, 0, host);
    let extended = table(0x8000_0001, 0, host);
    let on = |register: u32, bit: u32, value: u64| {
        if register >> bit & 1 != 0 { value } else { 0 }
    };
    Limits {
        cr4: CR4_ALWAYS
            | on(seven.ebx, 0, cr4::FSGSBASE)
            | on(seven.ebx, 7, cr4::SMEP)
            | on(seven.ebx, 20, cr4::SMAP)
            | on(seven.ecx, 2, cr4::UMIP),
        efer: on(extended.edx, 11, efer::SCE)
            | on(extended.edx, 29, efer::LME)
            | on(extended.edx, 20, efer::NXE),
        physical_width: physical_width(host) as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host that has every bit of every leaf.
    fn generous(leaf: u32, _: u32) -> Leaf {
        let all = Leaf {
            eax: !0,
            ebx: !0,
            ecx: !0,
            edx: !0,
        };
        match leaf {
            0 => Leaf { eax: 0x20, ..all },
            0x8000_0000 => Leaf {
                eax: 0x8000_0021,
                ..all
            },
            0x8000_0008 => Leaf { eax: 0x3934, ..all },
            _ => all,
        }
    }

    /// A host with leaves 0..=1 and 8000_0000..=8000_0001 and no feature.
    fn poor(leaf: u32, _: u32) -> Leaf {
        let eax = match leaf {
            0 => 1,
            0x8000_0000 => 0x8000_0001,
            _ => 0,
        };
        Leaf {
            eax,
            ..Leaf::default()
        }
    }

    fn bit(register: u32, number: u32) -> bool {
        register >> number & 1 != 0
    }

    #[test]
    fn what_is_not_carried_is_hidden_even_from_a_host_that_has_everything() {
        let one = answer(1, 0, false, &generous);
        for hidden in [3, 5, 12, 17, 21, 24, 26, 27, 28, 29] {
            assert!(!bit(one.ecx, hidden), "leaf 1 ECX bit {hidden}");
        }
        for hidden in [7, 9, 14, 28] {
            assert!(!bit(one.edx, hidden), "leaf 1 EDX bit {hidden}");
        }
        assert_eq!(one.ebx >> 16, 1, "APIC number 0, one processor");
        let seven = answer(7, 0, false, &generous);
        for hidden in [5, 10, 16] {
            assert!(!bit(seven.ebx, hidden), "leaf 7 EBX bit {hidden}");
        }
        assert_eq!(seven.ecx, 1 << 2);
        let extended = answer(0x8000_0001, 0, false, &generous);
        for hidden in [2, 3, 4, 12, 22, 29] {
            assert!(!bit(extended.ecx, hidden), "8000_0001 ECX bit {hidden}");
        }
        assert!(!bit(extended.edx, 27), "RDTSCP");
        assert!(!bit(extended.edx, 9), "APIC");
    }

    #[test]
    fn the_local_apic_is_shown_while_it_is_switched_on() {
        for (leaf, on) in [
            (1, true),
            (1, false),
            (0x8000_0001, true),
            (0x8000_0001, false),
        ] {
            let answer = answer(leaf, 0, on, &generous);
            assert_eq!(bit(answer.edx, 9), on, "{leaf:#x}");
        }
        let absent = |_: u32, _: u32| Leaf::default();
        assert_eq!(answer(0x8000_0001, 0, true, &absent), Leaf::default());
        assert!(bit(answer(1, 0, true, &poor).edx, 9));
    }

    #[test]
    fn what_linux_needs_is_kept() {
        let one = answer(1, 0, false, &generous);
        for kept in [0, 3, 4, 5, 6, 8, 13, 15, 16, 24, 25, 26] {
            assert!(bit(one.edx, kept), "leaf 1 EDX bit {kept}");
        }
        let extended = answer(0x8000_0001, 0, false, &generous);
        for kept in [11, 20, 26, 29] {
            assert!(bit(extended.edx, kept), "8000_0001 EDX bit {kept}");
        }
    }

    #[test]
    fn nothing_is_shown_that_the_host_lacks() {
        let one = answer(1, 0, false, &poor);
        assert_eq!((one.ecx, one.edx), (HYPERVISOR_PRESENT, 0));
        assert_eq!(answer(7, 0, false, &poor), Leaf::default());
        assert_eq!(answer(0x8000_0008, 0, false, &poor), Leaf::default());
        let limits = limits(&poor);
        assert_eq!((limits.cr4, limits.efer), (CR4_ALWAYS, 0));
    }

    #[test]
    fn the_hypervisor_leaf_names_umbra() {
        let leaf = answer(HYPERVISOR, 0, false, &poor);
        let mut name = [0; 12];
        for (chunk, word) in name.chunks_mut(4).zip([leaf.ebx, leaf.ecx, leaf.edx]) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        assert_eq!(&name, HYPERVISOR_VENDOR);
        assert_eq!(leaf.eax, HYPERVISOR);
    }

    #[test]
    fn address_widths_are_forty_and_forty_eight_at_most() {
        assert_eq!(answer(0x8000_0008, 0, false, &generous).eax, 48 << 8 | 40);
        assert_eq!(limits(&generous).physical_width, 40);
    }

    #[test]
    fn control_bits_of_hidden_features_do_not_exist() {
        let limits = limits(&generous);
        let hidden = cr4::LA57 | cr4::PCIDE | cr4::OSXSAVE | cr4::PKE;
        assert_eq!(limits.cr4 & hidden, 0);
        assert_eq!(limits.efer & (efer::SVME | efer::FFXSR), 0);
        let shown = cr4::SMEP | cr4::SMAP | cr4::UMIP | cr4::FSGSBASE;
        assert_eq!(limits.cr4 & shown, shown);
    }

    #[test]
    fn unknown_leaves_are_zero() {
        for leaf in [8, 0xd, 0x14, 0x4000_0001, 0x8000_000a, 0x8000_001f, !0] {
            assert_eq!(
                answer(leaf, 0, false, &generous),
                Leaf::default(),
                "{leaf:#x}"
            );
        }
        assert_eq!(answer(7, 1, false, &generous), Leaf::default());
    }
}
