//! VCPU: a guest's processor state, bound to a TCB that runs it.
//!
//! Always: the fields that keep the guest inside (I4, I6) are written in `controls` from the guest-visible values and from nothing
//! else, whenever one of those has changed since the last VMRUN; a vCPU runs with a root of its own pool, of the format its
//! mode needs, under a tag that no other space used since the last whole flush (I5).

mod controls;
mod event;
mod registers;
mod run;
mod tags;

pub use event::{is_injectable, normalise_event};
pub use run::After;
pub(crate) use tags::Tags;

use crate::cap::Cap;
use crate::context::GuestRegisters;
use crate::kernel::{Done, Fail, FpuOwner, Kernel, Message, Outcome};
use crate::machine::Machine;
use crate::mem::{FpuArea, Link, Page, Ref};
use crate::object::{ShadowPool, Tcb};
use controls::{INTERCEPT2, INTERCEPT3, WINDOW_CLASS, WINDOW_OPEN};
use core::cell::Cell;
use exit_abi::{ExitClass, Mask, Mode, Status};
use sel4_abi::label::vcpu_right;
use sel4_abi::{Error, Rights, label};
use words::svm::vmcb;
use words::x86::{cr0, efer, rflags};

/// Counters: one a class but the last, then exits for host interrupts, then FPU switches, then the last class.
pub const COUNTERS: usize = 18;
const COUNT_INTERRUPTS: usize = 15;
const COUNT_FPU: usize = 16;
const COUNT_NESTED: usize = 17;

const fn counter(class: ExitClass) -> usize {
    match class {
        ExitClass::NestedPaging => COUNT_NESTED,
        class => (class as u64 - ExitClass::Paging as u64) as usize,
    }
}

/// A virtual CPU: VMCB page, state page.
#[repr(C, align(4096))]
pub struct Vcpu {
    pub(crate) vmcb: Page,
    pub(crate) registers: GuestRegisters,
    pub(crate) tcb: Link<Tcb>,
    pub(crate) pool: Link<ShadowPool>,
    pub(crate) pool_next: Link<Vcpu>,
    /// Nested paging, in `space`; without one the space is gone.
    pub(crate) nested: Cell<bool>,
    pub(crate) space: Link<Page>,
    pub(crate) space_next: Link<Vcpu>,
    /// Index of the root page in the pool.
    pub(crate) root: Cell<Option<u64>>,
    /// Host-physical address of the root the VMCB was given: in CR3, or for nested paging in nCR3.
    installed: Cell<u64>,
    /// Control registers as the guest sees them.
    pub(crate) cr0: Cell<u64>,
    pub(crate) cr3: Cell<u64>,
    pub(crate) cr4: Cell<u64>,
    pub(crate) efer: Cell<u64>,
    pub(crate) tag: Cell<u32>,
    generation: Cell<u64>,
    /// A fresh tag is due.
    pub(crate) flush: Cell<bool>,
    /// As `Register::Window` has it.
    window: Cell<u64>,
    iret_intercept: Cell<bool>,
    /// A reply held what no guest may have: the vCPU exits instead of running.
    refused: Cell<bool>,
    /// What the kernel writes into the VMCB for a run is in it, from values that have not changed since: with nobody
    /// waiting for a window, and with `written_lazy` in CR0.
    pub(crate) written: Cell<bool>,
    written_lazy: Cell<u64>,
    /// Normalised EXITINTINFO of the last exit.
    pub(crate) event: Cell<u64>,
    /// RFLAGS.RF is set for the fault on its way: the guest's own is clear.
    marked: Cell<bool>,
    dr: [Cell<u64>; 4],
    counters: [Cell<u64>; COUNTERS],
    pub(crate) fpu: FpuArea,
}

const _: () = assert!(size_of::<Vcpu>() == 1 << sel4_abi::object::VCPU_BITS);
const _: () = assert!(
    core::mem::offset_of!(Vcpu, registers) as u64 == GuestRegisters::BEHIND_VMCB,
    "the world switch finds them there"
);

impl Vcpu {
    pub(crate) fn read(&self, offset: usize) -> u64 {
        self.vmcb.0[offset / 8].get()
    }
    pub(crate) fn write(&self, offset: usize, value: u64) {
        self.vmcb.0[offset / 8].set(value);
    }
    fn write_part(&self, offset: usize, bytes: usize, value: u64) {
        let shift = 8 * (offset % 8);
        let mask = (u64::MAX >> (64 - 8 * bytes)) << shift;
        let word = &self.vmcb.0[offset / 8];
        word.set(word.get() & !mask | value << shift & mask);
    }
    fn read_part(&self, offset: usize, bytes: usize) -> u64 {
        self.vmcb.0[offset / 8].get() >> (8 * (offset % 8)) & (u64::MAX >> (64 - 8 * bytes))
    }
    pub(crate) fn cpl(&self) -> u8 {
        self.read_part(vmcb::CPL, 1) as u8 & 3
    }
    pub(crate) fn is_long(&self) -> bool {
        self.efer.get() & efer::LMA != 0
    }
    /// Attribute word of CS: bit 9 L, bit 10 D.
    pub(crate) fn cs_attributes(&self) -> u64 {
        self.read_part(vmcb::CS + 2, 2)
    }
    /// The paging mode as the guest sees it.
    pub(crate) fn mode(&self) -> Mode {
        Mode::gather(
            self.cr0.get(),
            self.cr4.get(),
            self.efer.get(),
            self.read(vmcb::RFLAGS),
            self.cpl(),
        )
    }
    pub(crate) fn gpr(&self, number: u8) -> &Cell<u64> {
        let r = &self.registers;
        match number & 15 {
            0 => &self.vmcb.0[vmcb::RAX / 8],
            1 => &r.rcx,
            2 => &r.rdx,
            3 => &r.rbx,
            4 => &self.vmcb.0[vmcb::RSP / 8],
            5 => &r.rbp,
            6 => &r.rsi,
            7 => &r.rdi,
            8 => &r.r8,
            9 => &r.r9,
            10 => &r.r10,
            11 => &r.r11,
            12 => &r.r12,
            13 => &r.r13,
            14 => &r.r14,
            _ => &r.r15,
        }
    }
    fn status(&self) -> Status {
        Status {
            interrupts_enabled: self.read(vmcb::RFLAGS) & rflags::IF != 0,
            interrupt_shadow: self.read(vmcb::INTERRUPT_SHADOW) & 1 != 0,
            event_in_delivery: self.event.get() != 0,
            single_step: self.read(vmcb::RFLAGS) & rflags::TF != 0,
            resume_flag: self.read(vmcb::RFLAGS) & rflags::RF != 0,
        }
    }
    #[cfg(test)]
    pub(crate) fn counters(&self) -> [u64; COUNTERS] {
        core::array::from_fn(|n| self.counters[n].get())
    }
    pub(crate) fn count(&self, counter: usize) {
        self.counters[counter].set(self.counters[counter].get() + 1);
    }
}

impl<M: Machine> Kernel<M> {
    /// A fresh vCPU: the processor's reset state, everything intercepted.
    pub(crate) fn vcpu_init(&mut self, vcpu: Ref<Vcpu>) {
        let svm = self.machine.svm();
        vcpu.write_part(vmcb::DR_READ, 2, 0xffff);
        vcpu.write_part(vmcb::DR_WRITE, 2, 0xffff);
        vcpu.write_part(vmcb::INTERCEPT2, 4, u64::from(INTERCEPT2));
        vcpu.write_part(vmcb::INTERCEPT3, 4, u64::from(INTERCEPT3));
        vcpu.write(vmcb::IOPM_BASE, svm.iopm.bits());
        vcpu.write(vmcb::MSRPM_BASE, svm.msrpm.bits());
        for (segment, attributes) in [
            (vmcb::ES, 0x93),
            (vmcb::CS, 0x9b),
            (vmcb::SS, 0x93),
            (vmcb::DS, 0x93),
            (vmcb::FS, 0x93),
            (vmcb::GS, 0x93),
            (vmcb::GDTR, 0),
            (vmcb::IDTR, 0),
            (vmcb::LDTR, 0x82),
            (vmcb::TR, if svm.tcg { 0x89 } else { 0x8b }),
        ] {
            vcpu.write(segment, attributes << 16 | 0xffff << 32);
        }
        vcpu.write(vmcb::CS, 0xf000 | 0x9b << 16 | 0xffff << 32);
        vcpu.write(vmcb::CS + 8, 0xffff_0000);
        vcpu.write(vmcb::RIP, 0xfff0);
        vcpu.write(vmcb::RFLAGS, rflags::ONE);
        vcpu.write(vmcb::DR6, 0xffff_0ff0);
        vcpu.write(vmcb::DR7, 0x400);
        vcpu.cr0.set(cr0::ET | cr0::CD | cr0::NW);
        vcpu.fpu.init();
    }

    pub(crate) fn invoke_vcpu(
        &mut self,
        vcpu: Ref<Vcpu>,
        rights: Rights,
        msg: &Message,
    ) -> Outcome {
        let need = |right| {
            if rights.has(right) {
                Ok(())
            } else {
                Err(Fail::capability(0))
            }
        };
        match msg.label {
            label::VCPU_BIND_TCB => {
                need(vcpu_right::RUN)?;
                msg.need(0, 1)?;
                let Cap::Tcb { object: tcb } = msg.extra(0).cap() else {
                    return Err(Fail::capability(1));
                };
                if tcb == self.current || vcpu.tcb.get().is_some() || tcb.vcpu.get().is_some() {
                    return Err(Fail::error(Error::IllegalOperation));
                }
                vcpu.tcb.set(Some(tcb));
                tcb.vcpu.set(Some(vcpu));
                Ok(Done::Empty)
            }
            label::VCPU_READ_REGISTERS => {
                need(vcpu_right::READ)?;
                msg.need(1, 0)?;
                self.vcpu_read_registers(vcpu, msg)
            }
            label::VCPU_WRITE_REGISTERS => {
                need(vcpu_right::RUN)?;
                msg.need(1, 0)?;
                let mask = Mask(msg.word(0));
                msg.need(1 + mask.len(), 0)?;
                let values = |n: usize| msg.word(n);
                self.check_values(mask, values)
                    .map_err(|bit| Fail::range(u64::from(bit), u64::from(bit)))?;
                self.write_values(vcpu, mask, values);
                Ok(Done::Empty)
            }
            label::VCPU_REQUEST_WINDOW => {
                need(vcpu_right::RUN)?;
                let class = if msg.length > 0 {
                    msg.word(0) & WINDOW_CLASS
                } else {
                    0
                };
                vcpu.window.set(WINDOW_OPEN | class);
                Ok(Done::Empty)
            }
            label::VCPU_FETCH_INSTRUCTION => {
                if !rights.has(vcpu_right::READ) && !rights.has(vcpu_right::PAGING) {
                    return Err(Fail::capability(0));
                }
                let (bytes, count) = self.fetch_instruction(vcpu);
                let low = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
                let high = u64::from_le_bytes(bytes[8..].try_into().expect("eight bytes"));
                Ok(Done::words(&[count as u64, low, high]))
            }
            label::VCPU_READ_COUNTERS => {
                need(vcpu_right::READ)?;
                let sc = vcpu
                    .tcb
                    .get()
                    .and_then(|tcb| tcb.sc.get())
                    .unwrap_or(self.current_sc);
                let mut words = [0; 2 + COUNTERS];
                words[0] = sc.ipcs.get();
                words[1] = sc.switches.get();
                for (word, counter) in words[2..].iter_mut().zip(&vcpu.counters) {
                    *word = counter.get();
                }
                Ok(self.answer_long(msg, &words))
            }
            label::VCPU_SET_NESTED => {
                need(vcpu_right::PAGING)?;
                self.vcpu_set_nested(vcpu, msg)
            }
            label::VCPU_RUN => {
                need(vcpu_right::RUN)?;
                match vcpu.tcb.get() {
                    Some(tcb) => {
                        self.restart(tcb);
                        Ok(Done::Empty)
                    }
                    None => Err(Fail::error(Error::IllegalOperation)),
                }
            }
            _ => Err(Fail::error(Error::IllegalOperation)),
        }
    }

    /// Forgets the root.
    pub(crate) fn vcpu_drop_root(&mut self, vcpu: Ref<Vcpu>) {
        if let (Some(index), Some(pool)) = (vcpu.root.take(), vcpu.pool.get()) {
            pool.release_root(index);
        }
    }

    pub(crate) fn vcpu_unbind(&mut self, vcpu: Ref<Vcpu>) {
        if let Some(tcb) = vcpu.tcb.get() {
            tcb.vcpu.set(None);
            vcpu.tcb.set(None);
        }
    }

    pub(crate) fn vcpu_finalise(&mut self, vcpu: Ref<Vcpu>) {
        if let Some(tcb) = vcpu.tcb.get() {
            self.suspend(tcb);
        }
        self.vcpu_drop_root(vcpu);
        self.vcpu_unbind(vcpu);
        if let Some(pool) = vcpu.pool.get() {
            self.pool_forget_vcpu(pool, vcpu);
        }
        self.vcpu_leave_space(vcpu);
        self.fpu_forget(FpuOwner::guest(vcpu));
    }
}
