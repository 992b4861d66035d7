//! VCPU: a guest's processor state, bound to a TCB that runs it.
//!
//! Always: the fields that keep the guest inside (I4, I6) are written here from the guest-visible values and from nothing
//! else, before every VMRUN; a vCPU runs with a root of its own pool, of the format its mode needs, under a tag that no
//! other space used since the last whole flush (I5).

use crate::cap::Cap;
use crate::context::GuestRegisters;
use crate::kernel::{Done, Fail, FpuOwner, Kernel, Message, Outcome};
use crate::machine::{Machine, Next};
use crate::mem::{FpuArea, Link, Page, Ref};
use crate::mutant::{self, Mutant};
use crate::object::{ShadowPool, Tcb};
use core::cell::Cell;
use exit_abi::{Exit, ExitClass, Mask, Mode, Register, Status};
use sel4_abi::label::vcpu_right;
use sel4_abi::{Error, Rights, label};
use words::svm::{event, intercept1, intercept2, intercept3, np, vintr, vmcb};
use words::x86::{cr0, cr4, dr7, efer, pf, rflags, vector};

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
    /// waiting for a window, and CR0.TS as it was.
    pub(crate) written: Cell<bool>,
    written_ts: Cell<u64>,
    /// Normalised EXITINTINFO of the last exit.
    pub(crate) event: Cell<u64>,
    dr: [Cell<u64>; 4],
    counters: [Cell<u64>; COUNTERS],
    pub(crate) fpu: FpuArea,
}

const _: () = assert!(size_of::<Vcpu>() == 1 << sel4_abi::object::VCPU_BITS);

/// What follows a guest's turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum After {
    /// A host interrupt waits to be taken.
    Interrupt,
    /// To decide who runs.
    Decide,
    /// This runs.
    Run(Next),
}

/// What an exit comes to.
enum Exited {
    /// It was for the host.
    Interrupt,
    /// The guest goes on.
    Again,
    /// It is the handler's.
    Told(Exit),
}

/// TLB tags (SVM's ASIDs; APM vol. 2, 15.16): handed out in turn, everything flushed when they run out.
pub(crate) struct Tags {
    next: u32,
    generation: u64,
    /// The whole flush of this generation is still due: no VMRUN has done it yet.
    flush_due: bool,
}

impl Tags {
    /// No tag given yet; a vCPU's generation 0 is never current.
    pub const fn new() -> Self {
        Self {
            next: 1,
            generation: 1,
            flush_due: false,
        }
    }
}

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
const INTERCEPT2: u32 = intercept2::VMRUN
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
const INTERCEPT3: u32 = intercept3::INVLPGB
    | intercept3::INVLPGB_ILLEGAL
    | intercept3::INVPCID
    | intercept3::MCOMMIT
    | intercept3::TLBSYNC;
/// CR0, CR4; and CR3, which is the guest's own under nested paging, as #PF and INVLPG are.
const CONTROL: u16 = 1 | 1 << 4;
const CONTROL_CR3: u16 = 1 << 3;
const CONTROL_CR8: u16 = 1 << 8;
const EXCEPTIONS: u32 = 1 << vector::AC | 1 << vector::DB | 1 << vector::MC;

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
const CR0_PAGING: u64 = cr0::PE | CR0_NESTED;

/// The registers from which the kernel makes what it alone writes.
const DECIDING: u64 = Register::Cr0.bit()
    | Register::Cr3.bit()
    | Register::Cr4.bit()
    | Register::Efer.bit()
    | Register::Window.bit()
    | Register::Ss.bit()
    | Register::Cpl.bit()
    | Register::IretIntercept.bit();

/// `Register::Window`: exit when an interrupt can be taken; the priority class it has.
const WINDOW_OPEN: u64 = 1;
const WINDOW_CLASS: u64 = 0xf0;

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

/// An EXITINTINFO or EVENTINJ word as both TCG and silicon mean it; 0 for none (APM vol. 2, 15.7.2 and 15.20; what TCG does differs):
/// software interrupts and INT3/INTO are not injected again (RIP still points at them), and an exception type with a
/// vector above 31 is an interrupt.
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
    /// The TLB keeps what it translated before a register of the guest's paging was written here: in shadow mode that is
    /// for the pool's server to care for, under nested paging nobody else can (APM vol. 2, 15.16).
    fn flush_nested(&self, changed: bool) {
        if changed && self.nested.get() && !mutant::is(Mutant::NestedRegisterKeepsTag) {
            self.flush.set(true);
        }
    }
    fn status(&self) -> Status {
        Status {
            interrupts_enabled: self.read(vmcb::RFLAGS) & rflags::IF != 0,
            interrupt_shadow: self.read(vmcb::INTERRUPT_SHADOW) & 1 != 0,
            event_in_delivery: self.event.get() != 0,
            single_step: self.read(vmcb::RFLAGS) & rflags::TF != 0,
        }
    }
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
                self.vcpu_read_registers(vcpu, Mask(msg.word(0)))
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
                Ok(Done::words(&words))
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

    fn vcpu_read_registers(&mut self, vcpu: Ref<Vcpu>, mask: Mask) -> Outcome {
        let mut words = [0; crate::kernel::MAX_ANSWER];
        for (word, register) in words.iter_mut().zip(mask.iter()) {
            *word = Self::read_register(vcpu, register);
        }
        Ok(Done::Words(words, mask.len()))
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
    fn check_values(&self, mask: Mask, values: impl Fn(usize) -> u64) -> Result<(), u8> {
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

    fn write_values(&mut self, vcpu: Ref<Vcpu>, mask: Mask, values: impl Fn(usize) -> u64) {
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
            17 => vcpu.write(vmcb::RFLAGS, value & 0x3f_7fd5 | rflags::ONE),
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
            25 => vcpu.write(
                vmcb::EVENTINJ,
                if value & event::VALID == 0 { 0 } else { value },
            ),
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
        self.fpu_forget(FpuOwner::Guest(vcpu));
    }

    /// One address of the vCPU's TLB.
    pub(crate) fn vcpu_invalidate(&mut self, vcpu: Ref<Vcpu>, gva: u64) {
        let may_hold = !vcpu.flush.get() && vcpu.generation.get() == self.tags.generation;
        if may_hold && !mutant::is(Mutant::InvalidateAddressSkipped) {
            self.machine.invlpga(gva, vcpu.tag.get());
        }
    }

    /// The exit becomes a fault message to the vCPU's handler.
    pub(crate) fn exit_fault(&mut self, vcpu: Ref<Vcpu>, exit: Exit) {
        let Some(tcb) = vcpu.tcb.get() else { return };
        vcpu.count(counter(exit.class()));
        let words = exit.encode(vcpu.status());
        self.fault(tcb, exit.class() as u64, &words);
    }

    /// Makes the vCPU ready for VMRUN, or delivers the exit that says why it is not.
    pub(crate) fn vcpu_prepare(&mut self, vcpu: Ref<Vcpu>) -> Option<Next> {
        let rip = vcpu.read(vmcb::RIP);
        if vcpu.refused.take() {
            vcpu.event.set(0);
            self.exit_fault(vcpu, Exit::Invalid { code: 0, rip });
            return None;
        }
        let Some(table) = Self::vcpu_table(vcpu) else {
            // An event on its way is not lost: it is injected once there is a root.
            vcpu.event.set(normalise_event(vcpu.read(vmcb::EVENTINJ)));
            self.exit_fault(
                vcpu,
                Exit::NoRoot {
                    mode: vcpu.mode(),
                    rip,
                    cr3: vcpu.cr3.get(),
                },
            );
            return None;
        };
        self.write_state(vcpu, table);
        self.assign_tag(vcpu);
        // Its turn ends with nobody's TLS bases.
        self.loaded_thread = 0;
        self.fpu_prepare(FpuOwner::Guest(vcpu));
        let dr7 = vcpu.read(vmcb::DR7);
        if dr7 & dr7::ENABLED != 0 {
            let dr = [0, 1, 2, 3].map(|n| vcpu.dr[n].get());
            self.machine.load_debug_registers(dr, dr7);
        }
        let registers = vcpu.bits() + core::mem::offset_of!(Vcpu, registers) as u64;
        Some(Next::Guest {
            vmcb: vcpu.hpa(),
            registers: words::Hpa::new(registers),
        })
    }

    /// What the kernel alone writes into the VMCB, unless it is there. Neither the guest nor #VMEXIT changes any of it in a
    /// way that matters: what a guest could change exits, and the processor keeps CPL and SS together by itself.
    fn write_state(&mut self, vcpu: Ref<Vcpu>, table: Ref<Page>) {
        let (root, ts) = (table.bits(), self.lazy_ts(vcpu));
        let window = vcpu.window.get() & WINDOW_OPEN != 0;
        if vcpu.written.get()
            && !window
            && vcpu.written_ts.get() == ts
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
        vcpu.written_ts.set(ts);
    }

    /// The table that hardware shall walk: the root page in the pool, or the guest-physical space's.
    fn vcpu_table(vcpu: Ref<Vcpu>) -> Option<Ref<Page>> {
        if vcpu.nested.get() {
            return vcpu.space.get();
        }
        let (index, pool) = vcpu.root.get().zip(vcpu.pool.get())?;
        pool.root_table(index, vcpu.is_long())
    }

    /// The real paging format in shadow mode: the kernel's (I6 of docs/isolation.md).
    fn write_shadow_format(&self, vcpu: Ref<Vcpu>) {
        let allowed = self.machine.svm().cr4_allowed;
        vcpu.write(vmcb::CR3, vcpu.installed.get());
        vcpu.write(
            vmcb::CR0,
            vcpu.cr0.get() & CR0_GUEST | cr0::ET | cr0::PG | cr0::WP | self.lazy_ts(vcpu),
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
            cr0 & (CR0_GUEST | CR0_NESTED) | cr0::ET | self.lazy_ts(vcpu),
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

    /// CR0.TS while another's FPU state is loaded.
    fn lazy_ts(&self, vcpu: Ref<Vcpu>) -> u64 {
        if self.fpu_owner == FpuOwner::Guest(vcpu) {
            0
        } else {
            cr0::TS
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
        if self.lazy_ts(vcpu) != 0 {
            exceptions |= 1 << vector::NM;
        }
        vcpu.write_part(vmcb::EXCEPTIONS, 4, u64::from(exceptions));
        vcpu.write_part(vmcb::CLEAN, 4, 0);
    }

    /// A tag for this run: the old one, or a fresh one if something was taken from the shadow (I3, I5).
    fn assign_tag(&mut self, vcpu: Ref<Vcpu>) {
        let of_now =
            vcpu.generation.get() == self.tags.generation || mutant::is(Mutant::OldGenerationKept);
        let current = of_now && vcpu.tag.get() != 0;
        if vcpu.flush.replace(false) || !current {
            if self.tags.next >= self.machine.svm().asids {
                self.tags.next = 1;
                self.tags.generation += 1;
                self.tags.flush_due = !mutant::is(Mutant::WrapWithoutFlush);
            }
            vcpu.tag.set(self.tags.next);
            vcpu.generation.set(self.tags.generation);
            if !mutant::is(Mutant::TagShared) {
                self.tags.next += 1;
            }
        }
        vcpu.write_part(vmcb::ASID, 4, u64::from(vcpu.tag.get()));
        vcpu.write_part(vmcb::TLB_CONTROL, 1, u64::from(self.tags.flush_due));
    }

    /// A guest's own page fault under nested paging, with the error code that a processor gives: a reserved bit is found in
    /// an entry that is present (APM vol. 2, 8.4.2).
    fn reflect_page_fault(&mut self, vcpu: Ref<Vcpu>) -> Exited {
        let mut code = vcpu.read(vmcb::EXITINFO1) as u32;
        if code & pf::RSVD != 0 {
            code |= pf::P;
        }
        vcpu.write(vmcb::CR2, vcpu.read(vmcb::EXITINFO2));
        if vcpu.event.get() == 0 {
            vcpu.write(vmcb::EVENTINJ, event::exception_with_code(vector::PF, code));
            return Exited::Again;
        }
        // What two exceptions come to is not for the kernel to know.
        Exited::Told(Exit::Exception {
            vector: vector::PF,
            code,
            rip: vcpu.read(vmcb::RIP),
            dr6: vcpu.read(vmcb::DR6),
            event: vcpu.event.get(),
        })
    }

    /// After #VMEXIT: a VMRUN that was not refused has done the flush it was asked for.
    pub(crate) fn tag_used(&mut self, vcpu: Ref<Vcpu>, refused: bool) {
        vcpu.write_part(vmcb::TLB_CONTROL, 1, 0);
        if !refused || mutant::is(Mutant::RefusedRunFlushes) {
            self.tags.flush_due = false;
        }
    }

    /// After #VMEXIT of the current vCPU.
    pub fn handle_guest_exit(&mut self) -> After {
        self.machine.unload_debug_registers();
        let Some(vcpu) = self.current.vcpu.get() else {
            return After::Decide;
        };
        match self.take_exit(vcpu) {
            Exited::Interrupt => After::Interrupt,
            Exited::Again => After::Decide,
            Exited::Told(exit) => {
                vcpu.count(counter(exit.class()));
                let words = exit.encode(vcpu.status());
                if let Some(next) = self.fast_fault(exit.class() as u64, &words) {
                    return After::Run(next);
                }
                self.update_time();
                self.fault(self.current, exit.class() as u64, &words);
                After::Decide
            }
        }
    }

    /// Sorts the exits: what the kernel sees to itself, and what the handler is told.
    #[inline(always)]
    fn take_exit(&mut self, vcpu: Ref<Vcpu>) -> Exited {
        use words::svm::exit;
        let code = vcpu.read(vmcb::EXITCODE);
        let rip = vcpu.read(vmcb::RIP);
        let refused = code & 0xffff_ffff == exit::INVALID;
        self.tag_used(vcpu, refused);
        if refused {
            // The save area may hold anything now: vmm-server writes the state anew or stops.
            vcpu.event.set(0);
            vcpu.written.set(false);
            return Exited::Told(Exit::Invalid {
                code: code as u32,
                rip,
            });
        }
        if vcpu.nested.get() {
            vcpu.cr3.set(vcpu.read(vmcb::CR3));
        } else if vcpu.read(vmcb::CR3) & words::x86::pte::ADDRESS != vcpu.installed.get() {
            let found = vcpu.read(vmcb::CR3);
            return Exited::Told(Exit::FormatBroken {
                found,
                installed_page: vcpu.root.get().unwrap_or(u64::MAX),
            });
        }
        vcpu.event
            .set(normalise_event(vcpu.read(vmcb::EXITINTINFO)));
        vcpu.write(vmcb::EVENTINJ, 0);
        match code {
            exit::INTR | exit::NMI | exit::SMI | exit::INIT => {
                vcpu.count(COUNT_INTERRUPTS);
                vcpu.write(vmcb::EVENTINJ, vcpu.event.get());
                Exited::Interrupt
            }
            // The guest's own TS is known here: CLTS is intercepted with the writes of CR0.
            NM_EXIT if vcpu.cr0.get() & (cr0::TS | cr0::EM) == 0 => {
                vcpu.count(COUNT_FPU);
                self.fpu_acquire(FpuOwner::Guest(vcpu));
                vcpu.write(vmcb::EVENTINJ, vcpu.event.get());
                Exited::Again
            }
            NM_EXIT => {
                vcpu.write(vmcb::EVENTINJ, event::exception(vector::NM));
                Exited::Again
            }
            PF_EXIT if vcpu.nested.get() => self.reflect_page_fault(vcpu),
            MC_EXIT => panic!("machine check in a guest"),
            _ => {
                if code == exit::VINTR {
                    vcpu.window.set(0);
                }
                Exited::Told(self.describe_exit(vcpu, code))
            }
        }
    }
}

const PF_EXIT: u64 = words::svm::exit::EXCEPTION + vector::PF as u64;
const NM_EXIT: u64 = words::svm::exit::EXCEPTION + vector::NM as u64;
const MC_EXIT: u64 = words::svm::exit::EXCEPTION + vector::MC as u64;

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
    fn events_the_processor_refuses_are_not_injectable() {
        assert!(is_injectable(0));
        assert!(is_injectable(event::exception(6)));
        assert!(!is_injectable(event::exception(2)));
        assert!(!is_injectable(event::exception(31)));
        assert!(!is_injectable(event::VALID | 1 << 8));
        assert!(!is_injectable(event::VALID | event::TYPE_SOFT | 0x80));
    }
}
