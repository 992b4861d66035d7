//! Code that changes, code that is stepped through, code that is not trusted with its own kernel.
#![allow(unsafe_code)] // instructions written out here, and some of them rewritten

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use guest_rt::cpu::{self, cpuid, is_bare_tcg};
use guest_rt::gdt::{USER_CODE64, USER_DATA};
use guest_rt::tables::{P, PAGE, U, W, frame, load, store};
use guest_rt::trap::{DB, Frame, GP, PF, RETURN, Trap, catch, set_hook};
use guest_script::script::{Report, Script};
use guest_script::space::{ALL, Mode, Space};

/// Nothing is here on a PC.
const HOLE: u64 = 0xd000_0000;
/// What registers hold that should not change.
const UNTOUCHED: u64 = 0x5555_5555;

// `killer_patched` runs the two bytes at `killer_site`; what EBX holds then is its result.
// `killer_self` writes DIL over the ModRM byte of the instruction that follows, which reads nothing at [RSI].
// `killer_far` is copied: it reads nothing at [RSI] into the register its last-but-two byte says.
global_asm!(
    r#"
    .section .text.killer, "awx"
    .code64
    .globl killer_patched, killer_site, killer_self, killer_stepped, killer_user, killer_user_end
    .globl killer_far, killer_far_end
killer_patched:
    push rbx
    mov ebx, 0x55555555
    xor eax, eax
    xor ecx, ecx
killer_site:
    nop
    nop
    mov eax, ebx
    pop rbx
    ret
killer_self:
    push rbx
    mov ecx, 0x55555555
    mov ebx, 0x55555555
    mov byte ptr [killer_self_site + 1], dil
killer_self_site:
    mov ecx, dword ptr [rsi]
    xor eax, eax
    cmp ecx, 0x55555555
    je 2f
    or eax, 1
2:  cmp ebx, 0x55555555
    je 3f
    or eax, 2
3:  pop rbx
    ret
killer_far:
    mov eax, 0x55555555
    mov ecx, 0x55555555
    mov ecx, dword ptr [rsi]
    ret
killer_far_end:
killer_stepped:
    push rbx
    mov rbx, rdx
    pushfq
    or qword ptr [rsp], 0x100
    popfq
    mov eax, dword ptr [rdi]
    mov dword ptr [rdi + 8], eax
    add eax, dword ptr [rdi + 4]
    or byte ptr [rdi + 1], 1
    movzx eax, word ptr [rdi + 2]
    invlpg [rdi]
    mov rax, cr0
    mov cr0, rax
    mov rax, cr4
    mov cr4, rax
    clts
    mov ecx, 0xc0000080
    rdmsr
    wrmsr
    rdtsc
    smsw eax
    mov rax, dr7
    mov dr7, rax
    mov ecx, 4
    rep stosd
    mov eax, 1
    pushfq
    and qword ptr [rsp], 0xfffffffffffffeff
    popfq
    pop rbx
    ret

    // RDI: an entry's address, RSI: its value, RDX: the page; R8: how often; R9: the entry's step.
killer_user:
    cli
    pushfq
    pop rax
    in al, 0x80
    out 0x80, al
2:  mov qword ptr [rdi], rsi
    mov al, byte ptr [rdx]
    mov byte ptr [rdx + 1], al
    add rdi, 8
    add rdx, 0x1000
    dec r8
    jnz 2b
    int 0x80
killer_user_end:
"#
);

unsafe extern "C" {
    fn killer_patched() -> u64;
    fn killer_site();
    fn killer_self(modrm: u64, address: u64) -> u64;
    fn killer_far();
    fn killer_far_end();
    fn killer_stepped(address: u64);
    fn killer_user();
    fn killer_user_end();
}

/// Bytes of code are changed by the store before them, and by a mapping of other bytes.
pub fn self_modifying(_: &mut Script, report: &mut Report) {
    let site = killer_site as *const () as u64 as *mut u16;
    let vendor = u64::from(cpuid(0, 0).ebx);
    for i in 0..40 {
        // CPUID, which a hypervisor decodes, and two instructions that it never sees.
        let (bytes, expected) = if i % 2 == 0 {
            (0xa20f, vendor)
        } else {
            (0x9090, UNTOUCHED)
        };
        // SAFETY: both are whole instructions; the page is writable.
        let got = unsafe {
            site.write_unaligned(bytes);
            killer_patched()
        };
        report.holds("an instruction rewritten", got & 0xffff_ffff == expected);
    }
    let mut space = Space::new(Mode::Long);
    let region = space.region();
    let cr3 = cpu::cr3();
    store(region.pte(0), HOLE | P | W);
    cpu::set_cr3(space.cr3);
    for i in 0..40 {
        // ModRM: [RSI] into ECX or into EBX.
        let (modrm, expected) = if i % 2 == 0 { (0x0e, 1) } else { (0x1e, 2) };
        // SAFETY: either is a whole instruction, which reads where nothing is.
        let got = unsafe { killer_self(modrm, region.page(0)) };
        report.holds("an instruction that changes the next one", got == expected);
    }
    another_page(&space, &region, report);
    cpu::set_cr3(cr3);
}

/// Two frames of code at one address in turn.
fn another_page(space: &Space, region: &guest_script::space::Region, report: &mut Report) {
    let code = killer_far as *const () as u64;
    let length = killer_far_end as *const () as u64 - code;
    let frames = [frame(), frame()];
    for frame in frames {
        for i in 0..length {
            // SAFETY: the code's bytes, and a frame of the pool.
            unsafe { ((frame + i) as *mut u8).write_volatile(((code + i) as *const u8).read()) };
        }
    }
    // The second one reads into EAX.
    // SAFETY: inside the copy: the ModRM byte before `ret`.
    unsafe { ((frames[1] + length - 2) as *mut u8).write_volatile(0x06) };
    let window = space.window;
    for i in 0..20u64 {
        store(region.pte(1), frames[i as usize % 2] | P);
        cpu::invlpg(region.page(1));
        let (mut eax, mut ecx): (u64, u64);
        // SAFETY: calls the code above, which changes EAX and ECX alone.
        unsafe {
            asm!("call {}", in(reg) region.page(1), in("rsi") region.page(0), out("rax") eax, out("rcx") ecx)
        };
        let changed = u64::from(eax != UNTOUCHED) + 2 * u64::from(ecx != UNTOUCHED);
        let expected = if i % 2 == 0 { 2 } else { 1 };
        report.holds("another page of code", changed == expected && window != 0);
    }
}

static STEPS: AtomicU64 = AtomicU64::new(0);

fn on_step(frame: &mut Frame) -> bool {
    const SINGLE_STEP: u64 = 1 << 14;
    if frame.vector() != DB {
        return false;
    }
    if cpu::dr6() & SINGLE_STEP != 0 {
        STEPS.fetch_add(1, Relaxed);
    }
    cpu::set_dr6(0xffff_0ff0);
    true
}

/// Every instruction gives one trap, whoever carries it out; a repeated one gives one for each round.
pub fn single_steps(_: &mut Script, report: &mut Report) {
    /// Instructions between the two POPFQ, and three more rounds of STOSD.
    const TRAPS: u64 = 24 + 3;
    let mut space = Space::new(Mode::Long);
    let region = space.region();
    let cr3 = cpu::cr3();
    for target in [frame(), HOLE] {
        store(region.pte(0), target | P | W);
        cpu::set_cr3(space.cr3);
        set_hook(Some(on_step));
        STEPS.store(0, Relaxed);
        // SAFETY: steps through the code above, which writes 24 bytes at the address.
        unsafe { killer_stepped(region.page(0)) };
        set_hook(None);
        cpu::set_cr3(cr3);
        let steps = STEPS.load(Relaxed);
        // QEMU's own CPU traps once more at the end of a repetition that it carries out itself.
        let more = u64::from(is_bare_tcg() || target != HOLE);
        let right = (TRAPS..=TRAPS + more).contains(&steps);
        if !right {
            guest_rt::println!("killers: {steps} traps, not {TRAPS}");
        }
        report.holds("single steps", right);
    }
}

/// A kernel at privilege level 3: it has the ports and the interrupt flag by IOPL, and its tables are a user's pages.
pub fn ring_3_kernel(_: &mut Script, report: &mut Report) {
    const PAGES: u64 = 32;
    let mut space = Space::new(Mode::Long);
    let [code, tables, data] = [space.region(), space.region(), space.region()];
    let length = killer_user_end as *const () as u64 - killer_user as *const () as u64;
    let text = frame();
    for i in 0..length {
        // SAFETY: the code's bytes, and a frame of the pool.
        unsafe {
            ((text + i) as *mut u8)
                .write_volatile(((killer_user as *const () as u64 + i) as *const u8).read());
        };
    }
    store(code.pte(0), text | P | U);
    store(code.pte(1), frame() | ALL);
    store(tables.pte(0), data.table | ALL);
    let target = frame();
    let cr3 = cpu::cr3();
    cpu::set_cr3(space.cr3);
    let enter = |rip: u64, iopl: u64, address: u64| -> Result<(), Trap> {
        catch(|| {
            // SAFETY: leaves to user mode; only a trap ends it.
            unsafe {
                asm!(
                    "push {data}", "push {stack}", "push {flags}", "push {selector}", "push {rip}", "iretq",
                    data = in(reg) u64::from(USER_DATA), stack = in(reg) code.page(2),
                    flags = in(reg) 2 | iopl << 12,
                    selector = in(reg) u64::from(USER_CODE64), rip = in(reg) rip,
                    in("rdi") tables.page(0), in("rsi") target | ALL, in("rdx") address, in("r8") PAGES,
                    options(noreturn),
                )
            }
        })
    };
    let vector = |outcome: Result<(), Trap>| outcome.map_or_else(|trap| trap.vector, |()| 0);
    for round in 0..3 {
        store(target, 0x77 + round);
        let outcome = enter(code.page(0), 3, data.page(0));
        report.holds("it maps its pages and uses them", vector(outcome) == RETURN);
        report.holds("it wrote", load(target) & 0xffff == (0x77 + round) * 0x101);
        (0..PAGES).for_each(|i| store(data.pte(i), 0));
        cpu::set_cr3(space.cr3);
    }
    let refused = enter(code.page(0), 0, data.page(0));
    report.holds("without IOPL even CLI is refused", vector(refused) == GP);
    let wild = enter(code.page(0), 3, 0);
    report.holds(
        "the kernel's memory is not its",
        wild.is_err_and(|trap| trap.vector == PF && trap.error == 5 && trap.cr2 == 0),
    );
    for bytes in [0x38_010fu64, 0xf4, 0xd8_220f, 0x300f, 0x060f] {
        // INVLPG, HLT, MOV to CR3, WRMSR, CLTS.
        store(text, bytes);
        report.holds(
            "privileged instructions are refused",
            vector(enter(code.page(0), 3, PAGE)) == GP,
        );
    }
    cpu::set_cr3(cr3);
}
