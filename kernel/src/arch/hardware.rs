//! The logic's view of the processor and the board, implemented.
#![allow(unsafe_code)] // Privileged instructions.

use core::arch::asm;

use kernel::machine::{IrqRoute, Machine, SvmFeatures};
use words::Hpa;
use words::x86::{cr0, cr4, msr};

use super::apic::{IoApics, LocalApic};
use super::clock::Speeds;
use super::{breakpoints, console, cpu, latency, layout};

/// The one processor and its controllers.
pub struct Hardware {
    local: LocalApic,
    ioapics: IoApics,
    speeds: Speeds,
    svm: SvmFeatures,
    /// CR4.FSGSBASE is set: bases are read and written by instructions, here and in user mode.
    base_instructions: bool,
    /// What GS.base was loaded with last, without such instructions.
    gs_base: u64,
    /// What CR0.TS is.
    task_switched: bool,
    /// The host's DR7 has a guest's breakpoints on, for QEMU's sake.
    breakpoints_armed: bool,
}

impl Hardware {
    /// Puts the parts together. The kernel's own table is loaded, CR0.TS is clear and CR4 has its bits for good.
    pub fn new(local: LocalApic, ioapics: IoApics, speeds: Speeds, svm: SvmFeatures) -> Self {
        Self {
            local,
            ioapics,
            speeds,
            svm,
            base_instructions: cpu::read_cr4() & cr4::FSGSBASE != 0,
            gs_base: 0,
            task_switched: false,
            breakpoints_armed: false,
        }
    }
}

impl Machine for Hardware {
    fn now(&self) -> u64 {
        cpu::rdtsc()
    }

    fn tsc_mhz(&self) -> u64 {
        self.speeds.tsc_mhz
    }

    fn set_deadline(&mut self, tsc: u64) {
        if self.local.has_deadline_mode() {
            self.local.set_deadline(tsc);
            return;
        }
        let left = u128::from(tsc.saturating_sub(cpu::rdtsc()));
        // One more than the quotient: rather a tick late than early and again. Far deadlines come in steps.
        let count = ((left * u128::from(self.speeds.timer_ratio)) >> 32) + 1;
        self.local
            .set_count(u32::try_from(count).unwrap_or(u32::MAX));
    }

    #[inline(always)]
    fn switch_vspace(&mut self, root: Hpa) {
        // SAFETY: the logic copies the upper half of `kernel_pml4` into every root it makes.
        unsafe { cpu::write_cr3(root.bits()) };
    }

    fn invalidate_page(&mut self, vaddr: u64) {
        cpu::invlpg(vaddr);
    }

    fn flush_tlb(&mut self) {
        // Users' pages are never global and the kernel's never change, so this is everything that can be stale.
        // SAFETY: the root that is loaded.
        unsafe { cpu::write_cr3(cpu::read_cr3()) };
    }

    fn invlpga(&mut self, gva: u64, tag: u32) {
        // SAFETY: drops a translation; SVM is enabled.
        unsafe {
            asm!("invlpga rax, ecx", in("rax") gva, in("ecx") tag, options(nostack, preserves_flags))
        };
    }

    fn ioapic_pins(&self, ioapic: u32) -> Option<u32> {
        self.ioapics.pins(ioapic)
    }

    fn irq_route(&mut self, route: IrqRoute, vector: u8) {
        self.ioapics.route(route, vector);
    }

    fn irq_mask(&mut self, route: IrqRoute, masked: bool) {
        self.ioapics.mask(route, masked);
    }

    fn end_of_interrupt(&mut self) {
        self.local.end_of_interrupt();
    }

    fn in_service(&self, vector: u8) -> bool {
        self.local.in_service(vector)
    }

    fn interrupt_pending(&self) -> bool {
        latency::look();
        self.local.interrupt_pending()
    }

    fn port_in(&mut self, port: u16, size: u8) -> u32 {
        match size {
            1 => cpu::in8(port).into(),
            2 => cpu::in16(port).into(),
            _ => cpu::in32(port),
        }
    }

    fn port_out(&mut self, port: u16, size: u8, value: u32) {
        // SAFETY: done for the holder of a capability to the port. Ports that start DMA are given to nobody who is not
        // trusted with it.
        unsafe {
            match size {
                1 => cpu::out8(port, value as u8),
                2 => cpu::out16(port, value as u16),
                _ => cpu::out32(port, value),
            }
        }
    }

    fn put_char(&mut self, c: u8) {
        console::put(c);
    }

    fn halt(&mut self) -> ! {
        cpu::halt_forever()
    }

    #[inline(always)]
    fn load_tls(&mut self, fs_base: u64, gs_base: u64) {
        // SAFETY: the kernel uses neither FS nor GS; the logic keeps only canonical addresses, which all of these take.
        unsafe {
            if self.base_instructions {
                return cpu::write_bases(fs_base, gs_base);
            }
            // A thread can lose its bases without the kernel, by loading a selector, and a guest's exit clears them: what
            // is in the register is known only if it was 0 and has stayed so.
            cpu::write_msr(msr::FS_BASE, fs_base);
            if gs_base | self.gs_base != 0 {
                self.gs_base = gs_base;
                cpu::write_msr(msr::GS_BASE, gs_base);
            }
        }
    }

    #[inline(always)]
    fn threads_set_bases(&self) -> bool {
        self.base_instructions
    }

    #[inline(always)]
    fn bases(&self) -> (u64, u64) {
        cpu::read_bases()
    }

    fn fpu_save(&mut self, area: Hpa) {
        let area: *mut u8 = layout::window(area);
        // SAFETY: the logic's FPU areas are 512 bytes, aligned, in RAM.
        unsafe { asm!("fxsave64 [{}]", in(reg) area, options(nostack, preserves_flags)) };
    }

    fn fpu_restore(&mut self, area: Hpa) {
        let area: *const u8 = layout::window(area);
        // A processor may restore the last x87 instruction's pointers and opcode only where an exception is pending (APM
        // vol. 5, FXRSTOR): FNINIT clears another's.
        // SAFETY: as above; the kernel is built without FPU and SSE. The area was written by FXSAVE or is the logic's
        // initial state, so MXCSR has no reserved bits.
        unsafe {
            asm!("fninit", "fxrstor64 [{}]", in(reg) area, options(nostack, preserves_flags));
        }
    }

    #[inline(always)]
    fn set_task_switched(&mut self, ts: bool) {
        if self.task_switched == ts {
            return;
        }
        self.task_switched = ts;
        if ts {
            // SAFETY: adds TS.
            unsafe { cpu::write_cr0(cpu::read_cr0() | cr0::TS) };
        } else {
            cpu::clts();
        }
    }

    fn load_debug_registers(&mut self, dr: [u64; 4], dr7: u64) {
        // SAFETY: the host's DR7 enables none of them.
        unsafe { breakpoints::load(dr) };
        if self.svm.tcg {
            self.breakpoints_armed = breakpoints::arm(dr, dr7);
        }
    }

    fn unload_debug_registers(&mut self) {
        if core::mem::take(&mut self.breakpoints_armed) {
            breakpoints::disarm();
        }
    }

    fn svm(&self) -> SvmFeatures {
        self.svm
    }
}
