//! A processor and a board that do nothing and remember it.

use crate::machine::{IrqRoute, Machine, SvmFeatures};
use core::cell::Cell;
use std::collections::BTreeSet;
use words::Hpa;
use words::x86::cr4;

/// Ticks a microsecond.
pub const MHZ: u64 = 1000;

/// The recorder.
#[derive(Clone, PartialEq)]
pub struct FakeMachine {
    /// What `now` answers.
    pub now: u64,
    /// Last deadline set.
    pub deadline: u64,
    /// Address space last loaded.
    pub cr3: u64,
    /// Whole flushes of the host's TLB.
    pub flushes: usize,
    /// Pages of TLB tags invalidated.
    pub invlpga: Vec<(u64, u32)>,
    /// Ports written.
    pub written: Vec<(u16, u8, u32)>,
    /// What every port reads as.
    pub input: u32,
    /// Vectors of the pins that are not masked.
    pub unmasked: BTreeSet<(u32, u32)>,
    /// Pins routed.
    pub routed: Vec<(IrqRoute, u8)>,
    /// Whether an interrupt waits.
    pub pending: bool,
    /// The CPU vector whose end of interrupt is awaited.
    pub in_service: Option<u8>,
    /// One waits at each so manieth look, whatever `pending` says; 0 for never.
    pub pending_every: u32,
    /// Looks whether one waits.
    pub looks: Cell<u32>,
    /// The debug console.
    pub console: String,
    /// FS.base and GS.base.
    pub bases: (u64, u64),
    /// Threads set them by instructions: by this field, that is.
    pub threads_set_bases: bool,
    /// CR0.TS.
    pub task_switched: bool,
    /// FPU states saved and restored.
    pub fpu: Vec<(&'static str, u64)>,
    /// A guest's DR0..DR3 and DR7, while it runs with breakpoints on.
    pub debug_registers: Option<([u64; 4], u64)>,
    /// What `svm` answers.
    pub svm: SvmFeatures,
}

impl FakeMachine {
    /// A machine like QEMU's: SVM with nested paging, without extras.
    pub fn new() -> Self {
        Self {
            now: 1_000_000,
            deadline: 0,
            cr3: 0,
            flushes: 0,
            invlpga: Vec::new(),
            written: Vec::new(),
            input: 0,
            unmasked: BTreeSet::new(),
            routed: Vec::new(),
            pending: false,
            in_service: None,
            pending_every: 0,
            looks: Cell::new(0),
            console: String::new(),
            bases: (0, 0),
            threads_set_bases: false,
            task_switched: true,
            fpu: Vec::new(),
            debug_registers: None,
            svm: SvmFeatures {
                present: true,
                asids: 16,
                nested: true,
                cr4_allowed: cr4::PSE
                    | cr4::PAE
                    | cr4::MCE
                    | cr4::PGE
                    | cr4::DE
                    | cr4::TSD
                    | cr4::OSFXSR
                    | cr4::OSXMMEXCPT
                    | cr4::SMEP
                    | cr4::SMAP
                    | cr4::FSGSBASE
                    | cr4::LA57
                    | cr4::PCIDE,
                physical_bits: 40,
                iopm: Hpa::new(0x1_0000),
                msrpm: Hpa::new(0x1_4000),
                ..SvmFeatures::default()
            },
        }
    }
}

impl Machine for FakeMachine {
    fn now(&self) -> u64 {
        self.now
    }
    fn tsc_mhz(&self) -> u64 {
        MHZ
    }
    fn set_deadline(&mut self, tsc: u64) {
        self.deadline = tsc;
    }
    fn switch_vspace(&mut self, root: Hpa) {
        self.cr3 = root.bits();
    }
    fn invalidate_page(&mut self, _: u64) {}
    fn flush_tlb(&mut self) {
        self.flushes += 1;
    }
    fn invlpga(&mut self, gva: u64, tag: u32) {
        self.invlpga.push((gva, tag));
    }
    fn ioapic_pins(&self, ioapic: u32) -> Option<u32> {
        (ioapic == 0).then_some(24)
    }
    fn irq_route(&mut self, route: IrqRoute, vector: u8) {
        self.routed.push((route, vector));
        self.unmasked.remove(&(route.ioapic, route.pin));
    }
    fn irq_mask(&mut self, route: IrqRoute, masked: bool) {
        if masked {
            self.unmasked.remove(&(route.ioapic, route.pin));
        } else {
            self.unmasked.insert((route.ioapic, route.pin));
        }
    }
    fn end_of_interrupt(&mut self) {
        self.pending = false;
        self.in_service = None;
    }
    fn in_service(&self, vector: u8) -> bool {
        self.in_service == Some(vector)
    }
    fn interrupt_pending(&self) -> bool {
        let looks = self.looks.get() + 1;
        self.looks.set(looks);
        self.pending || self.pending_every != 0 && looks.is_multiple_of(self.pending_every)
    }
    fn port_in(&mut self, _: u16, size: u8) -> u32 {
        self.input & (u32::MAX >> (32 - 8 * u32::from(size)))
    }
    fn port_out(&mut self, port: u16, size: u8, value: u32) {
        self.written.push((port, size, value));
    }
    fn put_char(&mut self, c: u8) {
        if self.console.len() < 4096 {
            self.console.push(char::from(c));
        }
    }
    fn halt(&mut self) -> ! {
        panic!("the machine was halted: {}", self.console)
    }
    fn load_tls(&mut self, fs_base: u64, gs_base: u64) {
        self.bases = (fs_base, gs_base);
    }
    fn threads_set_bases(&self) -> bool {
        self.threads_set_bases
    }
    fn bases(&self) -> (u64, u64) {
        assert!(self.threads_set_bases, "RDFSBASE is not allowed");
        self.bases
    }
    fn fpu_save(&mut self, area: Hpa) {
        assert!(!self.task_switched, "FXSAVE with TS set");
        self.fpu.push(("save", area.bits()));
    }
    fn fpu_restore(&mut self, area: Hpa) {
        assert!(!self.task_switched, "FXRSTOR with TS set");
        self.fpu.push(("restore", area.bits()));
    }
    fn set_task_switched(&mut self, ts: bool) {
        self.task_switched = ts;
    }
    fn load_debug_registers(&mut self, dr: [u64; 4], dr7: u64) {
        self.debug_registers = Some((dr, dr7));
    }
    fn unload_debug_registers(&mut self) {
        self.debug_registers = None;
    }
    fn svm(&self) -> SvmFeatures {
        self.svm
    }
}
