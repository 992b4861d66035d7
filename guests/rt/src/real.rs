//! 16-bit code for real mode, which reaches the first MiB only.

/// Where the code is copied to, below 64 KiB.
pub const LOW: u64 = 0x8000;

/// How 16-bit code begins that was entered in 16-bit protected mode at its copy: protection goes off, segments begin at 0, the
/// stack ends at 7C00h. The argument is the code's first symbol; the operand `low` is [`LOW`].
#[macro_export]
macro_rules! real_mode_begins {
    ($code:literal) => {
        concat!(
            "
    mov eax, cr0
    and al, 0xfe
    mov cr0, eax
    .byte 0xea // jmp 0:imm16
    .word 77f - ",
            $code,
            " + {low}, 0
77: xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7c00
"
        )
    };
}

/// How 16-bit code ends: protection comes on, and 32-bit code goes on at the symbol.
#[macro_export]
macro_rules! real_mode_ends {
    ($up:literal) => {
        concat!(
            "
    mov eax, cr0
    or al, 1
    mov cr0, eax
    .byte 0x66, 0xea // jmp 0x18:imm32
    .long ",
            $up,
            "
    .word 0x18
"
        )
    };
}

/// Copies the code that lies between two symbols, and leads interrupt vectors to handlers in the copy.
pub fn install(
    first: unsafe extern "C" fn(),
    end: unsafe extern "C" fn(),
    vectors: &[(u64, unsafe extern "C" fn())],
) {
    let code = first as *const () as u64;
    let length = end as *const () as u64 - code;
    // SAFETY: the first 64 KiB is memory that neither loader nor image uses; the vector table is the firmware's, whose
    // services guests do not call.
    unsafe {
        for i in 0..length {
            ((LOW + i) as *mut u8)
                .write_volatile((code as *const u8).wrapping_add(i as usize).read());
        }
        for &(vector, handler) in vectors {
            let handler = handler as *const () as u64;
            ((4 * vector) as *mut u32).write_volatile((handler - code + LOW) as u32);
        }
    }
}
