//! What the kernel alone writes into a VMCB: intercepts, the real control registers, the real root.
//!
//! Always: all of it follows from the guest-visible registers and from nothing else (I4, I6). Every clean bit is clear, so
//! that the processor takes each field from the VMCB at every VMRUN (APM vol. 2, 15.15).

use super::Vcpu;
use crate::kernel::{FpuOwner, Kernel};
use crate::machine::Machine;
use crate::mem::{Page, Ref};
use words::svm::{intercept1, intercept2, intercept3, np, vintr, vmcb};
use words::x86::{cr0, cr4, efer, vector};

/// Intercepts that no reply can clear (I4; APM vol. 2, 15.9 and 15.12).
const INTERCEPT1: u32 = intercept1::INTR
    | intercept1::NMI
    | intercept1::SMI
    | intercept1::INIT
    | intercept1::RDPMC
    | intercept1::CPUID
    | intercept1::RSM
    | intercept1::INVD
    | intercept1::HLT
    | intercept1::INVLPGA
    | intercept1::IOIO_PROT
    | intercept1::MSR_PROT
    | intercept1::TASK_SWITCH
    | intercept1::FERR_FREEZE
    | intercept1::SHUTDOWN;
pub(super) const INTERCEPT2: u32 = intercept2::VMRUN
    | intercept2::VMMCALL
    | intercept2::VMLOAD
    | intercept2::VMSAVE
    | intercept2::STGI
    | intercept2::CLGI
    | intercept2::SKINIT
    | intercept2::RDTSCP
    | intercept2::WBINVD
    | intercept2::MONITOR
    | intercept2::MWAIT
    | intercept2::MWAIT_ARMED
    | intercept2::XSETBV
    | intercept2::RDPRU;
pub(super) const INTERCEPT3: u32 = intercept3::INVLPGB
    | intercept3::INVLPGB_ILLEGAL
    | intercept3::INVPCID
    | intercept3::MCOMMIT
    | intercept3::TLBSYNC;

/// CR0, CR4; and CR3, which is the guest's own under nested paging, as #PF and INVLPG are.
const CONTROL: u16 = 1 | 1 << 4;
const CONTROL_CR3: u16 = 1 << 3;
const CONTROL_CR8: u16 = 1 << 8;
/// #UD tells of hypercalls that this processor does not know.
const EXCEPTIONS: u32 = 1 << vector::AC | 1 << vector::DB | 1 << vector::MC | 1 << vector::UD;

/// The guest's memory is write-back whatever it says of its own pages: all eight types of a guest's PAT (APM vol. 2, 7.8.2
/// and 15.25.8).
const PAT_WRITE_BACK: u64 = 0x0606_0606_0606_0606;

/// CR0 bits the guest's value decides.
const CR0_GUEST: u64 = cr0::PE | cr0::MP | cr0::EM | cr0::TS | cr0::NE | cr0::AM;

/// CR4 bits the guest's value decides, as far as the processor has them.
const CR4_GUEST: u64 = cr4::VME
    | cr4::PVI
    | cr4::TSD
    | cr4::DE
    | cr4::PCE
    | cr4::OSFXSR
    | cr4::OSXMMEXCPT
    | cr4::UMIP
    | cr4::FSGSBASE;

/// … while paging is on.
const CR4_GUEST_PAGING: u64 = cr4::SMEP | cr4::SMAP;

/// What else is the guest's own under nested paging, where the format is, too.
const CR0_NESTED: u64 = cr0::WP | cr0::PG;
const CR4_NESTED: u64 = CR4_GUEST_PAGING | cr4::PSE | cr4::PAE | cr4::PGE;

/// CR0 bits on which translations depend.
pub(super) const CR0_PAGING: u64 = cr0::PE | CR0_NESTED;

/// `Register::Window`: exit when an interrupt can be taken; the priority class it has.
pub(super) const WINDOW_OPEN: u64 = 1;
pub(super) const WINDOW_CLASS: u64 = 0xf0;

impl Vcpu {
    /// The virtual interrupt that makes the guest exit once it can take one (APM vol. 2, 15.21.4): it is never delivered.
    fn virtual_interrupt(&self, tcg: bool) -> u64 {
        let window = self.window.get();
        // QEMU's software CPU forgets the interrupt shadow at VMRUN: the window waits for the next entry, or a guest's
        // STI; HLT would be torn apart.
        let shadow = tcg && self.read(vmcb::INTERRUPT_SHADOW) & 1 != 0;
        if window & WINDOW_OPEN == 0 || shadow {
            return 0;
        }
        match (window & WINDOW_CLASS) >> 4 {
            0 => vintr::IRQ | 15 << vintr::PRIO_SHIFT | vintr::IGN_TPR,
            // The manual's processor compares "priority above V_TPR", QEMU's "not below".
            class => vintr::IRQ | (class - u64::from(tcg)) << vintr::PRIO_SHIFT,
        }
    }
}

impl<M: Machine> Kernel<M> {
    /// What the kernel alone writes into the VMCB, unless it is there. Neither the guest nor #VMEXIT changes any of it in a
    /// way that matters: what a guest could change exits, and the processor keeps CPL and SS together by itself. CR3 is looked at
    /// after each exit all the same; where it is another, all is written anew.
    pub(super) fn write_state(&mut self, vcpu: Ref<Vcpu>, table: Ref<Page>) {
        let (root, lazy) = (table.bits(), self.lazy_fpu(vcpu));
        let window = vcpu.window.get() & WINDOW_OPEN != 0;
        if vcpu.written.get()
            && !window
            && vcpu.written_lazy.get() == lazy
            && vcpu.installed.get() == root
        {
            return;
        }
        vcpu.installed.set(root);
        self.write_controls(vcpu);
        if vcpu.nested.get() {
            self.write_nested_format(vcpu);
        } else {
            self.write_shadow_format(vcpu);
        }
        vcpu.written.set(!window);
        vcpu.written_lazy.set(lazy);
    }

    /// The real paging format in shadow mode: the kernel's (I6 of docs/isolation.md).
    fn write_shadow_format(&self, vcpu: Ref<Vcpu>) {
        let allowed = self.machine.svm().cr4_allowed;
        vcpu.write(vmcb::CR3, vcpu.installed.get());
        vcpu.write(
            vmcb::CR0,
            vcpu.cr0.get() & CR0_GUEST | cr0::ET | cr0::PG | cr0::WP | self.lazy_fpu(vcpu),
        );
        let pass = if vcpu.cr0.get() & cr0::PG != 0 {
            CR4_GUEST | CR4_GUEST_PAGING
        } else {
            CR4_GUEST
        };
        vcpu.write(
            vmcb::CR4,
            (vcpu.cr4.get() & pass | cr4::MCE) & allowed | cr4::PAE,
        );
        let long = if vcpu.is_long() {
            efer::LME | efer::LMA
        } else {
            0
        };
        vcpu.write(
            vmcb::EFER,
            vcpu.efer.get() & efer::SCE | efer::NXE | efer::SVME | long,
        );
        vcpu.write(vmcb::NP_CONTROL, 0);
    }

    /// The real paging format under nested paging: the guest's, on top of the space's tree (APM vol. 2, 15.25.3 to 15.25.8).
    fn write_nested_format(&self, vcpu: Ref<Vcpu>) {
        const LONG: (u64, u64) = (cr0::PE | cr0::PG, cr4::PAE);
        let allowed = self.machine.svm().cr4_allowed;
        let (cr0, cr4) = (vcpu.cr0.get(), vcpu.cr4.get());
        vcpu.write(vmcb::CR3, vcpu.cr3.get());
        vcpu.write(
            vmcb::CR0,
            cr0 & (CR0_GUEST | CR0_NESTED) | cr0::ET | self.lazy_fpu(vcpu),
        );
        vcpu.write(
            vmcb::CR4,
            (cr4 & (CR4_GUEST | CR4_NESTED) | cr4::MCE) & allowed,
        );
        // LME without LMA is for reading alone, which exits; and QEMU's software CPU comes back from a guest that has LME
        // without PAE with the host's own paging off.
        let long = if vcpu.is_long() && (cr0 & LONG.0, cr4 & LONG.1) == LONG {
            efer::LME | efer::LMA
        } else {
            0
        };
        vcpu.write(
            vmcb::EFER,
            vcpu.efer.get() & (efer::SCE | efer::NXE) | efer::SVME | long,
        );
        vcpu.write(vmcb::NP_CONTROL, np::ENABLE);
        vcpu.write(vmcb::N_CR3, vcpu.installed.get());
        vcpu.write(vmcb::G_PAT, PAT_WRITE_BACK);
    }

    /// What CR0 has beside the guest's own while another's FPU state is loaded: TS, and MP, without which WAIT would still
    /// find that one's pending exceptions (APM vol. 2, 3.1.1).
    fn lazy_fpu(&self, vcpu: Ref<Vcpu>) -> u64 {
        if self.fpu_owner == FpuOwner::guest(vcpu) {
            0
        } else {
            cr0::TS | cr0::MP
        }
    }

    /// Intercepts, which no reply can clear (I4), and what else is the kernel's.
    fn write_controls(&mut self, vcpu: Ref<Vcpu>) {
        let (nested, tcg) = (vcpu.nested.get(), self.machine.svm().tcg);
        // QEMU's software CPU neither raises #GP for reserved bits of CR3 in a guest nor sets P in the error code for those
        // of a table: there both exit under nested paging, too, and are put right.
        let (mut reads, mut writes) = (CONTROL, CONTROL);
        if !nested {
            reads |= CONTROL_CR3;
        }
        if !nested || tcg {
            writes |= CONTROL_CR3;
        }
        // It ends with an assertion when a guest writes CR8 while a virtual interrupt waits: it asks for the interrupt
        // without its own lock.
        let virtual_interrupt = vcpu.virtual_interrupt(tcg);
        if tcg && virtual_interrupt != 0 {
            writes |= CONTROL_CR8;
        }
        vcpu.write_part(vmcb::CR_READ, 2, u64::from(reads));
        vcpu.write_part(vmcb::CR_WRITE, 2, u64::from(writes));
        // The CPU takes CPL from its byte, QEMU's software CPU from SS.DPL: they agree.
        let ss = vcpu.read(vmcb::SS) & !(3 << 21);
        vcpu.write(vmcb::SS, ss | u64::from(vcpu.cpl()) << 21);
        let tpr = vcpu.read(vmcb::V_INTR) & 15;
        vcpu.write(vmcb::V_INTR, tpr | vintr::INTR_MASKING | virtual_interrupt);
        let mut intercept1 = INTERCEPT1;
        if !nested {
            intercept1 |= intercept1::INVLPG;
        }
        if virtual_interrupt != 0 {
            intercept1 |= intercept1::VINTR;
        }
        if vcpu.iret_intercept.get() {
            intercept1 |= intercept1::IRET;
        }
        vcpu.write_part(vmcb::INTERCEPT1, 4, u64::from(intercept1));
        let mut exceptions = EXCEPTIONS;
        if !nested || tcg {
            exceptions |= 1 << vector::PF;
        }
        if self.lazy_fpu(vcpu) != 0 {
            exceptions |= 1 << vector::NM;
        }
        vcpu.write_part(vmcb::EXCEPTIONS, 4, u64::from(exceptions));
        vcpu.write_part(vmcb::CLEAN, 4, 0);
    }
}
