/* What the second thread runs beside C. */

    .section .text
/* Where it starts, with a stack. */
    .globl second_start
second_start:
    xorl %ebp, %ebp
    call second_main
    ud2

/* Instructions that fault, each with a name for its address. */
    .globl odd_syscall, odd_syscall_instruction
odd_syscall:
    pushq %rbx
    movq $0x1234, %rax
    movq $-1000, %rdx
    movq %rsp, %rbx
odd_syscall_instruction:
    syscall
    movq %rbx, %rsp
    popq %rbx
    ret

    .globl undefined, undefined_instruction
undefined:
undefined_instruction:
    ud2
    ret

    .globl read_word, read_word_instruction
read_word:
read_word_instruction:
    movq (%rdi), %rax
    ret

    .section .note.GNU-stack, "", @progbits
