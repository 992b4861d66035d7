//! Exceptions and interrupts in long mode.
//!
//! `catch` runs a closure that may fault and says what happened; `set_hook` sees every trap first and may resume it.
//! A trap that neither takes ends the guest with a line and `exit::FATAL`.

use core::arch::{asm, global_asm};
use core::fmt;
use core::mem::transmute;
use core::ptr::addr_of_mut;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::gdt::CODE64;

/// Debug exception.
pub const DB: u8 = 1;
/// Breakpoint.
pub const BP: u8 = 3;
/// Invalid opcode.
pub const UD: u8 = 6;
/// Double fault.
pub const DF: u8 = 8;
/// General protection.
pub const GP: u8 = 13;
/// Page fault.
pub const PF: u8 = 14;
/// The vector by which user code comes back.
pub const RETURN: u8 = 0x80;

/// Bits of a page fault's error code (APM vol. 2, 8.4.2).
pub mod page_fault {
    /// There was a translation: a right was missing, or a bit malformed.
    pub const PRESENT: u64 = 1;
    /// The access was a write.
    pub const WRITE: u64 = 2;
    /// The access came from privilege level 3.
    pub const USER: u64 = 4;
    /// A reserved bit was set.
    pub const RESERVED: u64 = 8;
    /// The access was an instruction fetch.
    pub const FETCH: u64 = 16;
}

/// The registers at a trap; a hook may change them before the trap returns.
#[repr(C)]
#[expect(missing_docs, reason = "the names are the registers'")]
pub struct Frame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rbp: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    /// Where the stub called from: says which stub.
    stub: u64,
    /// The error code, 0 for vectors without.
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

impl Frame {
    /// The vector.
    pub fn vector(&self) -> u8 {
        // Stubs are 16 bytes apart, and the call's return address lies inside its stub.
        ((self.stub - trap_stubs as *const () as u64) >> 4) as u8
    }
}

/// A trap that was caught.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Trap {
    /// The vector.
    pub vector: u8,
    /// The error code, 0 for vectors without.
    pub error: u64,
    /// CR2; it means something for a page fault only.
    pub cr2: u64,
    /// Where it happened.
    pub rip: u64,
    /// RAX there, by which user code returns a value.
    pub rax: u64,
    /// RFLAGS as the trap left them on the stack.
    pub rflags: u64,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.vector {
            DB => f.write_str("#DB"),
            BP => f.write_str("#BP"),
            UD => f.write_str("#UD"),
            GP => write!(f, "#GP({:#x})", self.error),
            PF => write!(f, "#PF({:#x}) at {:#x}", self.error, self.cr2),
            vector => write!(f, "trap {vector}({:#x})", self.error),
        }
    }
}

/// Sees a trap before `catch` does; `true` resumes at the frame.
pub type Hook = fn(&mut Frame) -> bool;

static HOOK: AtomicUsize = AtomicUsize::new(0);
static LAST: [AtomicU64; 6] = [const { AtomicU64::new(0) }; 6];

// `guarded_call(f, argument)` notes the stack pointer in `trap_guard` (the previous one below it on the stack, so guards
// nest) and calls; `trap_escape` unwinds to the innermost guard and makes that call return 1.
global_asm!(
    r#"
    .section .text.trap, "ax"
    .code64
    .globl guarded_call, trap_escape, trap_stubs
guarded_call:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    pushfq
    push qword ptr [trap_guard]
    mov qword ptr [trap_guard], rsp
    sub rsp, 8
    mov rax, rdi
    mov rdi, rsi
    call rax
    add rsp, 8
    xor eax, eax
3:  pop qword ptr [trap_guard]
    popfq
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
trap_escape:
    mov rsp, qword ptr [trap_guard]
    mov eax, 0x10
    mov ss, eax
    mov ds, eax
    mov es, eax
    mov eax, 1
    jmp 3b

trap_common:
    push rax
    push rbx
    push rcx
    push rdx
    push rsi
    push rdi
    push rbp
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    mov rdi, rsp
    cld
    call trap_dispatch
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rbp
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rbx
    pop rax
    add rsp, 16
    iretq

    .set vector, 0
    .balign 16
trap_stubs:
    .rept 256
    .balign 16
    .if (vector != 8) && (vector != 10) && (vector != 11) && (vector != 12) && (vector != 13) && (vector != 14) && (vector != 17)
    push 0
    .endif
    call trap_common
    .set vector, vector + 1
    .endr

    .section .bss.trap, "aw", @nobits
    .balign 8
    .globl trap_guard
trap_guard:
    .skip 8
"#
);

unsafe extern "C" {
    fn trap_stubs();
    fn trap_escape() -> !;
    fn guarded_call(function: extern "C" fn(*mut u8), argument: *mut u8) -> u64;
    static trap_guard: u64;
}

/// A gate of the interrupt table (APM vol. 2, 4.8.4).
#[repr(C)]
#[derive(Clone, Copy)]
struct Gate([u32; 4]);

impl Gate {
    const ABSENT: Self = Self([0; 4]);

    fn interrupt(handler: u64, privilege: u32) -> Self {
        let low = handler as u32;
        Self([
            u32::from(CODE64) << 16 | low & 0xffff,
            low & 0xffff_0000 | 0x8e00 | privilege << 13,
            (handler >> 32) as u32,
            0,
        ])
    }
}

static mut IDT: [Gate; 256] = [Gate::ABSENT; 256];

/// The operand of LIDT.
#[repr(C, packed)]
pub struct TablePointer {
    /// The last byte's offset.
    pub limit: u16,
    /// The first byte's address.
    pub base: u64,
}

/// Loads the interrupt table register.
pub fn load_idt(pointer: &TablePointer) {
    // SAFETY: reads the operand; that later traps find their gates is what the caller is testing.
    unsafe { asm!("lidt [{}]", in(reg) pointer, options(nostack, preserves_flags)) };
}

/// Fills the table and loads it. Only `RETURN` may be raised by user code.
pub(crate) fn init() {
    let stubs = trap_stubs as *const () as u64;
    // SAFETY: called once, before interrupts; the CPU reads the table only after `load_idt`.
    let table = unsafe { &mut *addr_of_mut!(IDT) };
    for (vector, gate) in table.iter_mut().enumerate() {
        let privilege = if vector == usize::from(RETURN) { 3 } else { 0 };
        *gate = Gate::interrupt(stubs + 16 * vector as u64, privilege);
    }
    load_idt(&TablePointer {
        limit: 256 * 16 - 1,
        base: table.as_ptr() as u64,
    });
}

/// Makes a vector use an interrupt stack of the task state, or none (0).
pub fn use_interrupt_stack(vector: u8, index: u32) {
    // SAFETY: one CPU, interrupts off; the CPU reads the gate at a trap only.
    unsafe {
        let gate = addr_of_mut!(IDT).cast::<Gate>().add(usize::from(vector));
        let word = addr_of_mut!((*gate).0[1]);
        word.write_volatile(word.read_volatile() & !7 | index);
    }
}

/// The address of the interrupt table.
pub fn idt() -> u64 {
    addr_of_mut!(IDT) as u64
}

/// Loads the table that `init` filled.
pub fn restore_idt() {
    load_idt(&TablePointer {
        limit: 256 * 16 - 1,
        base: idt(),
    });
}

/// Sets or removes the hook.
pub fn set_hook(hook: Option<Hook>) {
    HOOK.store(hook.map_or(0, |hook| hook as usize), Relaxed);
}

/// Every trap comes here.
#[unsafe(no_mangle)]
extern "C" fn trap_dispatch(frame: &mut Frame) {
    let hook = HOOK.load(Relaxed);
    if hook != 0 {
        // SAFETY: only `set_hook` writes it, and only function pointers of this type.
        let hook: Hook = unsafe { transmute::<usize, Hook>(hook) };
        if hook(frame) {
            return;
        }
    }
    let trap = Trap {
        vector: frame.vector(),
        error: frame.error,
        cr2: crate::cpu::cr2(),
        rip: frame.rip,
        rax: frame.rax,
        rflags: frame.rflags,
    };
    // SAFETY: a word that only the assembly above writes, on this CPU.
    if unsafe { core::ptr::read_volatile(&raw const trap_guard) } == 0 {
        crate::println!(
            "guest: unexpected {trap}, rip {:#x} rsp {:#x} cr3 {:#x}",
            trap.rip,
            frame.rsp,
            crate::cpu::cr3()
        );
        crate::exit::exit(crate::exit::FATAL);
    }
    let words = [
        u64::from(trap.vector),
        trap.error,
        trap.cr2,
        trap.rip,
        trap.rax,
        trap.rflags,
    ];
    LAST.iter()
        .zip(words)
        .for_each(|(slot, word)| slot.store(word, Relaxed));
    // SAFETY: the guard is armed, so `guarded_call` is on the stack below everything skipped here; what is skipped is a
    // closure of `catch`, whose contract is to own nothing that needs dropping.
    unsafe { trap_escape() }
}

/// Runs `action`; the trap that ended it, if one did.
///
/// A trap skips the rest of `action`, without dropping what it holds: keep it to plain values and accesses. Flags, among
/// them the interrupt flag, are afterwards as they were before.
pub fn catch(mut action: impl FnMut()) -> Result<(), Trap> {
    extern "C" fn run<F: FnMut()>(action: *mut u8) {
        // SAFETY: `catch` passes the address of its `action`, of this very type, which lives until the call returns.
        unsafe { (*action.cast::<F>())() }
    }
    fn runner<F: FnMut()>(_: &F) -> extern "C" fn(*mut u8) {
        run::<F>
    }
    let function = runner(&action);
    // SAFETY: `function` fits `action`'s type. Coming back early restores all registers the calling convention keeps.
    if unsafe { guarded_call(function, (&raw mut action).cast()) } == 0 {
        return Ok(());
    }
    let [vector, error, cr2, rip, rax, rflags] = [0, 1, 2, 3, 4, 5].map(|i| LAST[i].load(Relaxed));
    Err(Trap {
        vector: vector as u8,
        error,
        cr2,
        rip,
        rax,
        rflags,
    })
}
