/* Where the kernel starts the program: rdi has the boot information's address, and there is no stack yet. */

    .section .text
    .globl _start
_start:
    leaq main_stack_end(%rip), %rsp
    xorl %ebp, %ebp
    call c_main
    ud2

    .section .bss
    .balign 16
    .skip 16384
main_stack_end:

    .section .note.GNU-stack, "", @progbits
