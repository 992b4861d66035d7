//! Finding SVM, switching it on, and the permission maps all guests share.
//!
//! The maps are constants: nobody can open a port or an MSR to a guest at run time.
#![allow(unsafe_code)] // EFER and VM_HSAVE_PA.

use kernel::machine::SvmFeatures;
use words::x86::{cr4, efer, msr};

use super::cpu;
use super::layout::{self, HardwarePage};

/// VM_CR: SVM is disabled (APM vol. 2, 15.30.1).
const SVMDIS: u64 = 1 << 4;

/// A permission map; one bits intercept.
#[repr(C, align(4096))]
struct Map<const N: usize>([u8; N]);

/// Every port exits (APM vol. 2, 15.10.1): 64 Ki bits, and a page that accesses at the end of the range spill into.
static IO_PERMISSIONS: Map<{ 12 * 1024 }> = Map([0xff; 12 * 1024]);
/// Every MSR exits but those that VMLOAD and VMSAVE switch (APM vol. 2, 15.11).
static MSR_PERMISSIONS: Map<{ 8 * 1024 }> = Map(msr_permissions(false));
/// The same for QEMU's software CPU, which writes these MSRs without asking whether an address is canonical: writes of
/// those that hold one exit, so that a guest gets the #GP that a processor raises.
static MSR_PERMISSIONS_TCG: Map<{ 8 * 1024 }> = Map(msr_permissions(true));

/// MSRs that guests read and write directly: each guest has its own, because VMLOAD and VMSAVE move them.
const SWITCHED_MSRS: [u32; 10] = [
    msr::FS_BASE,
    msr::GS_BASE,
    msr::KERNEL_GS_BASE,
    msr::STAR,
    msr::LSTAR,
    msr::CSTAR,
    msr::SFMASK,
    msr::SYSENTER_CS,
    msr::SYSENTER_ESP,
    msr::SYSENTER_EIP,
];

/// Whether a write of anything but a canonical address raises #GP (APM vol. 2, 6.1.1 and 4.5.3).
const fn holds_address(number: u32) -> bool {
    matches!(
        number,
        msr::FS_BASE | msr::GS_BASE | msr::KERNEL_GS_BASE | msr::LSTAR | msr::CSTAR
    )
}

const fn msr_permissions(checks_addresses: bool) -> [u8; 8 * 1024] {
    let mut map = [0xff; 8 * 1024];
    let mut index = 0;
    while index < SWITCHED_MSRS.len() {
        let number = SWITCHED_MSRS[index];
        // 2 KiB each for 0.., C000_0000.. and C001_0000..; two bits an MSR, read and write.
        let base = if number >= 0xc000_0000 { 0x800 } else { 0 };
        let byte = base + (number as usize & 0x1fff) / 4;
        let open = if checks_addresses && holds_address(number) {
            1
        } else {
            3
        };
        map[byte] &= !(open << (number % 4 * 2));
        index += 1;
    }
    map
}

/// Where the processor keeps the host's state during a guest's turn.
static HOST_SAVE: HardwarePage = HardwarePage::new();

/// Why there is no SVM.
pub enum Missing {
    /// The processor has none.
    Absent,
    /// Firmware has switched it off.
    Disabled,
}

/// Whether the hypervisor below, if any, is QEMU's software CPU.
fn is_tcg() -> bool {
    const HYPERVISOR: u32 = 1 << 31;
    if cpu::cpuid(1, 0).ecx & HYPERVISOR == 0 {
        return false;
    }
    let leaf = cpu::cpuid(0x4000_0000, 0);
    [leaf.ebx, leaf.ecx, leaf.edx]
        .map(u32::to_le_bytes)
        .as_flattened()
        == b"TCGTCGTCGTCG"
}

/// Bits of CR4 the processor has and that are a guest's to set. OSXSAVE, PKE, PCIDE and LA57 are not: the kernel switches
/// no extended state, and the paging format is its own.
fn cr4_allowed() -> u64 {
    let basic = cpu::cpuid(1, 0).edx;
    let extended = if cpu::cpuid(0, 0).eax >= 7 {
        cpu::cpuid(7, 0)
    } else {
        cpu::CpuidResult {
            eax: 0,
            ebx: 0,
            ecx: 0,
            edx: 0,
        }
    };
    let features = [
        (basic, 1, cr4::VME | cr4::PVI),
        (basic, 2, cr4::DE),
        (basic, 3, cr4::PSE),
        (basic, 4, cr4::TSD),
        (basic, 6, cr4::PAE),
        (basic, 7, cr4::MCE),
        (basic, 13, cr4::PGE),
        (basic, 24, cr4::OSFXSR),
        (basic, 25, cr4::OSXMMEXCPT),
        (extended.ebx, 0, cr4::FSGSBASE),
        (extended.ebx, 7, cr4::SMEP),
        (extended.ebx, 20, cr4::SMAP),
        (extended.ecx, 2, cr4::UMIP),
    ];
    features
        .iter()
        .filter(|(word, bit, _)| word >> bit & 1 != 0)
        .fold(cr4::PCE, |allowed, (_, _, bits)| allowed | bits)
}

/// Enables SVM (the order of APM vol. 2, 15.4) and describes it.
pub fn enable() -> Result<SvmFeatures, Missing> {
    const SVM_LEAF: u32 = 0x8000_000a;
    const SVM: u32 = 1 << 2;
    if cpu::cpuid(0x8000_0000, 0).eax < SVM_LEAF || cpu::cpuid(0x8000_0001, 0).ecx & SVM == 0 {
        return Err(Missing::Absent);
    }
    if cpu::read_msr(msr::VM_CR) & SVMDIS != 0 {
        return Err(Missing::Disabled);
    }
    // SAFETY: SVM is there and not disabled; the save area is a page of the image.
    unsafe {
        cpu::write_msr(msr::EFER, cpu::read_msr(msr::EFER) | efer::SVME);
        cpu::write_msr(msr::VM_HSAVE_PA, HOST_SAVE.hpa().bits());
    }
    let leaf = cpu::cpuid(SVM_LEAF, 0);
    let has = |bit: u32| leaf.edx >> bit & 1 != 0;
    let tcg = is_tcg();
    Ok(SvmFeatures {
        present: true,
        asids: leaf.ebx,
        nested: has(0),
        nrips: has(3),
        decode_assists: has(7),
        flush_by_asid: has(6),
        tcg,
        cr4_allowed: cr4_allowed(),
        physical_bits: cpu::cpuid(0x8000_0008, 0).eax & 0xff,
        huge_pages: cpu::cpuid(0x8000_0001, 0).edx & 1 << 26 != 0,
        iopm: layout::hpa_of(&IO_PERMISSIONS),
        msrpm: layout::hpa_of(if tcg {
            &MSR_PERMISSIONS_TCG
        } else {
            &MSR_PERMISSIONS
        }),
    })
}
