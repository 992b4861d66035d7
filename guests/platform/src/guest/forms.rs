//! Instructions on memory that answers as a device does: each form is executed on ordinary memory and there, with the same
//! registers, and must leave the same registers, flags and bytes.
#![allow(unsafe_code)] // one instruction at a time on two kinds of memory

use core::arch::asm;

use guest_rt::cpu::wrmsr;
use guest_rt::dice::Dice;
use guest_rt::println;
use guest_rt::tables::{frame, load, store};
use guest_script::script::Report;

use super::interrupts::TEST_MEMORY;

/// RAX, RCX, RDX, RSI, RDI; RFLAGS.
type Registers = [u64; 6];

/// CF, PF, ZF, SF, OF; and with AF, which logic leaves undefined.
const STATUS: u64 = 0x8c5;
const ALL: u64 = STATUS | 0x10;
const NONE: u64 = 0;
const CARRY: u64 = 1;
const ZERO: u64 = 0x40;

/// One form: its text, the flags it defines, the code.
struct Form {
    name: &'static str,
    flags: u64,
    run: fn(&mut Registers),
}

macro_rules! forms {
    ($($flags:ident: $($name:literal),+;)+) => {
        &[$($(Form { name: $name, flags: $flags, run: |registers| {
            // SAFETY: an instruction on memory at RSI or RDI, of which `all` gives 64 bytes on both sides.
            unsafe {
                asm!(
                    "push {flags}", "popfq", $name, "pushfq", "pop {flags}", "cld",
                    flags = inout(reg) registers[5], inout("rax") registers[0], inout("rcx") registers[1],
                    inout("rdx") registers[2], inout("rsi") registers[3], inout("rdi") registers[4],
                )
            };
        } }),+),+]
    };
}

const FORMS: &[Form] = forms! {
    NONE:
        "mov al, [rdi]", "mov ah, [rdi]", "mov cx, [rdi]", "mov ecx, [rdi]", "mov rcx, [rdi]",
        "mov [rdi], al", "mov [rdi], dh", "mov [rdi], cx", "mov [rdi], ecx", "mov [rdi], rcx",
        "mov byte ptr [rdi], 0x5a", "mov word ptr [rdi], 0x5aa5", "mov dword ptr [rdi], 0x5aa51234",
        "mov qword ptr [rdi], -2", "mov rcx, [rdi + 8]", "mov [rdi + 2*rcx - 4], eax",
        "mov edx, [edi]", "mov r9d, [rdi]\nmov rax, r9", "mov r9, rcx\nmov [rdi], r9b",
        "movzx ax, byte ptr [rdi]", "movzx eax, byte ptr [rdi]", "movzx rax, byte ptr [rdi]",
        "movzx ecx, word ptr [rdi]", "movzx rcx, word ptr [rdi]",
        "movsx ax, byte ptr [rdi]", "movsx eax, byte ptr [rdi]", "movsx rax, byte ptr [rdi]",
        "movsx ecx, word ptr [rdi]", "movsx rcx, word ptr [rdi]", "movsxd rdx, dword ptr [rdi]",
        "stosb", "stosw", "stosd", "stosq", "rep stosb", "rep stosw", "rep stosd", "rep stosq",
        "movsb", "movsw", "movsd", "movsq", "rep movsb", "rep movsw", "rep movsd", "rep movsq",
        "std\nmovsb", "std\nstosd", "std\nrep movsd",
        "xchg [rdi], al", "xchg [rdi], cx", "xchg [rdi], ecx", "xchg [rdi], rcx",
        "not byte ptr [rdi]", "not dword ptr [rdi]", "lock not qword ptr [rdi]";
    ALL:
        "add [rdi], al", "add [rdi], cx", "add [rdi], ecx", "add [rdi], rcx", "add rcx, [rdi]", "add dl, [rdi]",
        "add byte ptr [rdi], 0x7f", "add word ptr [rdi], 0x1234", "add dword ptr [rdi], -3", "add qword ptr [rdi], 0x12345678",
        "adc [rdi], ecx", "adc rcx, [rdi]", "sbb [rdi], cx", "sbb eax, [rdi]", "sub [rdi], rcx", "sub cl, [rdi]",
        "sub dword ptr [rdi], 1", "cmp [rdi], cl", "cmp rcx, [rdi]", "cmp dword ptr [rdi], -1", "lock add [rdi], ecx",
        "inc byte ptr [rdi]", "inc dword ptr [rdi]", "dec word ptr [rdi]", "lock dec qword ptr [rdi]",
        "neg byte ptr [rdi]", "neg dword ptr [rdi]", "xadd [rdi], ecx", "lock xadd [rdi], rcx",
        "cmpxchg [rdi], cl", "cmpxchg [rdi], ecx", "lock cmpxchg [rdi], rcx",
        "mov eax, [rdi]\nlock cmpxchg [rdi], ecx", "mov rax, [rdi]\ncmpxchg [rdi], rdx";
    STATUS:
        "and [rdi], al", "and [rdi], cx", "and [rdi], ecx", "and [rdi], rcx", "and ecx, [rdi]", "and dword ptr [rdi], 0xf0f",
        "or [rdi], al", "or [rdi], ecx", "or rcx, [rdi]", "or byte ptr [rdi], 0x80", "lock or dword ptr [rdi], 0x100",
        "xor [rdi], al", "xor [rdi], cx", "xor [rdi], rcx", "xor ecx, [rdi]", "xor qword ptr [rdi], -1",
        "test [rdi], al", "test [rdi], ecx", "test byte ptr [rdi], 1", "test dword ptr [rdi], 0x80000000";
    CARRY:
        "bt dword ptr [rdi], 7", "bts dword ptr [rdi], 31", "btr dword ptr [rdi], 3", "btc qword ptr [rdi], 45",
        "bts word ptr [rdi], 15", "lock bts dword ptr [rdi], 9", "bts [rdi], ecx", "btr [rdi], rcx", "bt [rdi], cx";
};

/// Forms beyond plain data movement and arithmetic.
const MORE: &[Form] = forms! {
    NONE:
        "lodsb", "lodsw", "lodsd", "lodsq", "setc byte ptr [rdi]", "setnz byte ptr [rdi]",
        "cmovc ecx, [rdi]", "cmovnz rcx, [rdi]", "push qword ptr [rdi]\npop rcx", "push rcx\npop qword ptr [rdi]";
    ALL:
        "cmpsb", "cmpsd", "repe cmpsb", "scasb", "scasd", "repne scasb", "imul ecx, [rdi]\ncmp eax, eax";
    STATUS:
        "shl byte ptr [rdi], 1", "shr dword ptr [rdi], 1", "sar qword ptr [rdi], 1";
    ZERO:
        "cmpxchg8b [rdi]";
};

/// Where the bytes are: around the middle, and over a page's end.
const OFFSETS: [u64; 4] = [0x100, 0x203, 0xffe, 0xff9];

/// Two pages of ordinary memory that follow each other, and two of the test device's.
pub fn all(report: &mut Report) {
    store(TEST_MEMORY, 0x1234_5678_9abc_def0);
    if load(TEST_MEMORY) != 0x1234_5678_9abc_def0 {
        println!("platform: no test device");
        report.holds("the test device", false);
        return;
    }
    let memory = frame();
    report.holds("frames follow each other", frame() == memory + 0x1000);
    let mut dice = Dice::new(9);
    for form in FORMS.iter().chain(MORE) {
        let wrong = OFFSETS
            .into_iter()
            .filter(|&offset| !same(form, memory, offset, &mut dice))
            .count();
        report.holds(form.name, wrong == 0);
    }
    segments(report, memory);
}

/// Executes a form on both memories.
fn same(form: &Form, memory: u64, offset: u64, dice: &mut Dice) -> bool {
    const AROUND: u64 = 64;
    let words: [u64; 17] = core::array::from_fn(|_| dice.roll() | dice.roll() << 32);
    let first = |base: u64| (base + offset - AROUND) & !7;
    let [rax, rdx] = [
        dice.roll() << 32 | dice.roll(),
        dice.roll() << 32 | dice.roll(),
    ];
    let (rcx, flags) = (1 + dice.below(4) as u64, 2 | dice.some_of(ALL));
    let mut outcomes = [([0; 6], [0; 17]); 2];
    for (base, outcome) in [memory, TEST_MEMORY].into_iter().zip(&mut outcomes) {
        (0..17).for_each(|i| store(first(base) + 8 * i, words[i as usize]));
        let mut registers = [rax, rcx, rdx, base + offset + 16, base + offset, flags];
        (form.run)(&mut registers);
        registers[3] -= base;
        registers[4] -= base;
        registers[5] &= form.flags;
        *outcome = (
            registers,
            core::array::from_fn(|i| load(first(base) + 8 * i as u64)),
        );
    }
    let [(plain, bytes), (device, device_bytes)] = outcomes;
    if plain != device || bytes != device_bytes {
        println!(
            "platform: `{}` at {offset:#x}: {device:x?}, not {plain:x?}",
            form.name
        );
        if let Some(i) = (0..17).find(|&i| bytes[i] != device_bytes[i]) {
            println!(
                "platform: memory: {:#x}, not {:#x}",
                device_bytes[i], bytes[i]
            );
        }
    }
    plain == device && bytes == device_bytes
}

/// Prefixes with bases, which long mode has for FS and GS alone.
fn segments(report: &mut Report, memory: u64) {
    const FS_BASE: u32 = 0xc000_0100;
    const GS_BASE: u32 = 0xc000_0101;
    for base in [memory, TEST_MEMORY] {
        store(base + 0x40, 0x1111_2222_3333_4444);
        wrmsr(FS_BASE, base);
        wrmsr(GS_BASE, base.wrapping_sub(0x1000));
        let (mut by_fs, mut by_gs, mut plain): (u64, u64, u64);
        // SAFETY: FS and GS are not used by compiled code; the addresses are inside the page.
        unsafe {
            asm!("mov {}, fs:[{}]", out(reg) by_fs, in(reg) 0x40u64, options(nostack));
            asm!("mov {}, gs:[{}]", out(reg) by_gs, in(reg) 0x1040u64, options(nostack));
            asm!("mov {}, ds:[{}]", out(reg) plain, in(reg) base + 0x40, options(nostack));
            asm!("add dword ptr fs:[{}], 1", in(reg) 0x40u64, options(nostack));
        }
        report.holds("FS", by_fs == 0x1111_2222_3333_4444);
        report.holds("GS", by_gs == by_fs && plain == by_fs);
        report.holds("FS, changed", load(base + 0x40) == 0x1111_2222_3333_4445);
    }
    wrmsr(FS_BASE, 0);
    wrmsr(GS_BASE, 0);
}
