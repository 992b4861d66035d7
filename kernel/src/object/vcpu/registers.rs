//! A vCPU's registers as messages name them: where each is kept, and what of a value a guest may have.
//!
//! Always: no value written here reaches what keeps the guest inside; what follows from a value that changed is written anew
//! before the next VMRUN.

use super::Vcpu;
use super::controls::{CR0_PAGING, WINDOW_CLASS, WINDOW_OPEN};
use super::event::is_injectable;
use crate::kernel::{Kernel, Message, Outcome};
use crate::machine::Machine;
use crate::mem::Ref;
use crate::mutant::{self, Mutant};
use exit_abi::{Mask, Register};
use words::svm::vmcb;
use words::x86::{cr0, efer, rflags};

/// The registers from which the kernel makes what it alone writes.
const DECIDING: u64 = Register::Cr0.bit()
    | Register::Cr3.bit()
    | Register::Cr4.bit()
    | Register::Efer.bit()
    | Register::Window.bit()
    | Register::Ss.bit()
    | Register::Cpl.bit()
    | Register::IretIntercept.bit();

/// VMCB offset of the 64-bit field that is a register's, for those that are kept there unchanged.
fn vmcb_field(register: u8) -> Option<usize> {
    const BASES: [usize; 8] = [
        vmcb::ES,
        vmcb::CS,
        vmcb::SS,
        vmcb::DS,
        vmcb::FS,
        vmcb::GS,
        vmcb::LDTR,
        vmcb::TR,
    ];
    Some(match register {
        0 => vmcb::RAX,
        4 => vmcb::RSP,
        16 => vmcb::RIP,
        19 => vmcb::CR2,
        27 => vmcb::TSC_OFFSET,
        32..40 => BASES[usize::from(register) - 32] + 8,
        48 => vmcb::GDTR + 8,
        50 => vmcb::IDTR + 8,
        53 => vmcb::STAR,
        54 => vmcb::LSTAR,
        55 => vmcb::CSTAR,
        56 => vmcb::SFMASK,
        57 => vmcb::KERNEL_GS_BASE,
        58 => vmcb::SYSENTER_CS,
        59 => vmcb::SYSENTER_ESP,
        60 => vmcb::SYSENTER_EIP,
        _ => return None,
    })
}

/// VMCB offset of a segment's selector word, for registers 40..48.
fn segment_field(register: u8) -> Option<usize> {
    (40..48).contains(&register).then(|| match register - 40 {
        0 => vmcb::ES,
        1 => vmcb::CS,
        2 => vmcb::SS,
        3 => vmcb::DS,
        4 => vmcb::FS,
        5 => vmcb::GS,
        6 => vmcb::LDTR,
        _ => vmcb::TR,
    })
}

impl Vcpu {
    /// The TLB keeps what it translated before a register of the guest's paging was written here: in shadow mode that is
    /// for the pool's server to care for, under nested paging nobody else can (APM vol. 2, 15.16).
    fn flush_nested(&self, changed: bool) {
        if changed && self.nested.get() && !mutant::is(Mutant::NestedRegisterKeepsTag) {
            self.flush.set(true);
        }
    }
}

impl<M: Machine> Kernel<M> {
    pub(super) fn vcpu_read_registers(&mut self, vcpu: Ref<Vcpu>, msg: &Message) -> Outcome {
        let mask = Mask(msg.word(0));
        // As many as a mask has bits.
        let mut words = [0; 64];
        for (word, register) in words.iter_mut().zip(mask.iter()) {
            *word = Self::read_register(vcpu, register);
        }
        Ok(self.answer_long(msg, &words[..mask.len()]))
    }

    fn read_register(vcpu: Ref<Vcpu>, register: u8) -> u64 {
        const DR0: u8 = Register::Dr0 as u8;
        if let Some(field) = vmcb_field(register) {
            return vcpu.read(field);
        }
        if let Some(field) = segment_field(register) {
            let word = vcpu.read(field);
            // A loaded task register is busy whatever the VMCB had to say.
            return if field == vmcb::TR && word & 0x80 << 16 != 0 {
                word | 2 << 16
            } else {
                word
            };
        }
        match register {
            0..=15 => vcpu.gpr(register).get(),
            17 => vcpu.read(vmcb::RFLAGS),
            18 => vcpu.cr0.get(),
            20 => vcpu.cr3.get(),
            21 => vcpu.cr4.get(),
            22 => vcpu.efer.get(),
            23 => vcpu.read(vmcb::DR6),
            24 => vcpu.read(vmcb::DR7),
            25 => vcpu.event.get(),
            26 => vcpu.read(vmcb::INTERRUPT_SHADOW) & 1,
            28 => vcpu.window.get(),
            DR0..32 => vcpu.dr[usize::from(register - DR0)].get(),
            49 => vcpu.read_part(vmcb::GDTR + 4, 4),
            51 => vcpu.read_part(vmcb::IDTR + 4, 4),
            52 => u64::from(vcpu.cpl()),
            61 => vcpu.read(vmcb::V_INTR) & 15,
            62 => vcpu.dr[3].get(),
            _ => u64::from(vcpu.iret_intercept.get()),
        }
    }

    /// The first register whose value no processor takes, if any.
    pub(super) fn check_values(&self, mask: Mask, values: impl Fn(usize) -> u64) -> Result<(), u8> {
        if mask.0 & Register::Event.bit() == 0 {
            return Ok(());
        }
        for (n, register) in mask.iter().enumerate() {
            if register == Register::Event as u8 && !is_injectable(values(1 + n)) {
                return Err(register);
            }
        }
        Ok(())
    }

    pub(super) fn write_values(
        &mut self,
        vcpu: Ref<Vcpu>,
        mask: Mask,
        values: impl Fn(usize) -> u64,
    ) {
        if mask.0 & DECIDING != 0 {
            vcpu.written.set(false);
        }
        for (n, register) in mask.iter().enumerate() {
            self.write_register(vcpu, register, values(1 + n));
        }
    }

    fn write_register(&mut self, vcpu: Ref<Vcpu>, register: u8, value: u64) {
        const DR0: u8 = Register::Dr0 as u8;
        if let Some(field) = vmcb_field(register) {
            vcpu.write(field, value);
            return;
        }
        if let Some(field) = segment_field(register) {
            let busy = 2 << 16;
            let value = if field == vmcb::TR && self.machine.svm().tcg {
                value & !busy
            } else {
                value
            };
            vcpu.write(field, value);
            return;
        }
        match register {
            0..=15 => vcpu.gpr(register).set(value),
            17 => vcpu.write_flags(value & 0x3f_7fd5 | rflags::ONE),
            18 => {
                let value = value & cr0::DEFINED;
                let changed = (vcpu.cr0.replace(value) ^ value) & CR0_PAGING != 0;
                vcpu.flush_nested(changed);
            }
            20 => {
                vcpu.cr3.set(value);
                vcpu.flush_nested(true);
            }
            21 => {
                let changed = vcpu.cr4.replace(value) != value;
                vcpu.flush_nested(changed);
            }
            22 => {
                let changed = vcpu.efer.replace(value) ^ value;
                vcpu.flush_nested(changed != 0);
                let format = changed & efer::LMA;
                if format != 0 {
                    // The root is of the other format now (I6).
                    self.vcpu_drop_root(vcpu);
                    vcpu.flush.set(true);
                }
            }
            23 => vcpu.write(vmcb::DR6, value & 0xffff_ffff),
            24 => vcpu.write(vmcb::DR7, value & 0xffff_ffff),
            25 => vcpu.inject(value),
            26 => vcpu.write(vmcb::INTERRUPT_SHADOW, value & 1),
            28 => vcpu.window.set(value & (WINDOW_OPEN | WINDOW_CLASS)),
            DR0..32 => vcpu.dr[usize::from(register - DR0)].set(value),
            49 => vcpu.write_part(vmcb::GDTR + 4, 4, value & 0xffff),
            51 => vcpu.write_part(vmcb::IDTR + 4, 4, value & 0xffff),
            52 => vcpu.write_part(vmcb::CPL, 1, value & 3),
            61 => vcpu.write_part(vmcb::V_INTR, 1, value & 15),
            62 => vcpu.dr[3].set(value),
            _ => vcpu.iret_intercept.set(value & 1 != 0),
        }
    }

    /// A reply to an exit: `length` words, the first the mask. What cannot be taken makes the vCPU exit again.
    pub(crate) fn vcpu_resume(
        &mut self,
        vcpu: Ref<Vcpu>,
        length: usize,
        word: impl Fn(usize) -> u64,
    ) {
        if length == 0 {
            return;
        }
        let mask = Mask(word(0));
        let whole = mask.len() < length;
        if !whole || self.check_values(mask, &word).is_err() {
            vcpu.refused.set(true);
            return;
        }
        self.write_values(vcpu, mask, word);
    }
}
