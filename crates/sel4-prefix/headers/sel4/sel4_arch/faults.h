/* Fault messages of x86_64. */

#pragma once

#include <sel4/config.h>
#include <sel4/types.h>
#include <sel4/functions.h>

LIBSEL4_INLINE_FUNC seL4_Fault_t seL4_getArchFault(seL4_MessageInfo_t tag)
{
    switch (seL4_MessageInfo_get_label(tag)) {
    case seL4_Fault_UnknownSyscall:
        return seL4_Fault_UnknownSyscall_new({{unknown_syscall_arguments}});
    case seL4_Fault_UserException:
        return seL4_Fault_UserException_new({{user_exception_arguments}});
    case seL4_Fault_VMFault:
        return seL4_Fault_VMFault_new({{vm_fault_arguments}});
    default:
        return seL4_Fault_NullFault_new();
    }
}

LIBSEL4_INLINE_FUNC seL4_Bool seL4_isVMFault_tag(seL4_MessageInfo_t tag)
{
    return seL4_MessageInfo_get_label(tag) == seL4_Fault_VMFault;
}

LIBSEL4_INLINE_FUNC seL4_Bool seL4_isUnknownSyscall_tag(seL4_MessageInfo_t tag)
{
    return seL4_MessageInfo_get_label(tag) == seL4_Fault_UnknownSyscall;
}

LIBSEL4_INLINE_FUNC seL4_Bool seL4_isUserException_tag(seL4_MessageInfo_t tag)
{
    return seL4_MessageInfo_get_label(tag) == seL4_Fault_UserException;
}

/* The answer to a timeout that sets registers of the thread. */
LIBSEL4_INLINE_FUNC seL4_MessageInfo_t seL4_TimeoutReply_new(seL4_Bool resume, seL4_UserContext regs, seL4_Word length)
{
    seL4_MessageInfo_t info = seL4_MessageInfo_new(!resume, 0, 0, length);
    seL4_SetMR(seL4_TimeoutReply_FaultIP, regs.rip);
    seL4_SetMR(seL4_TimeoutReply_RSP, regs.rsp);
    seL4_SetMR(seL4_TimeoutReply_FLAGS, regs.rflags);
    seL4_SetMR(seL4_TimeoutReply_RAX, regs.rax);
    seL4_SetMR(seL4_TimeoutReply_RBX, regs.rbx);
    seL4_SetMR(seL4_TimeoutReply_RCX, regs.rcx);
    seL4_SetMR(seL4_TimeoutReply_RDX, regs.rdx);
    seL4_SetMR(seL4_TimeoutReply_RSI, regs.rsi);
    seL4_SetMR(seL4_TimeoutReply_RDI, regs.rdi);
    seL4_SetMR(seL4_TimeoutReply_RBP, regs.rbp);
    seL4_SetMR(seL4_TimeoutReply_R8, regs.r8);
    seL4_SetMR(seL4_TimeoutReply_R9, regs.r9);
    seL4_SetMR(seL4_TimeoutReply_R10, regs.r10);
    seL4_SetMR(seL4_TimeoutReply_R11, regs.r11);
    seL4_SetMR(seL4_TimeoutReply_R12, regs.r12);
    seL4_SetMR(seL4_TimeoutReply_R13, regs.r13);
    seL4_SetMR(seL4_TimeoutReply_R14, regs.r14);
    seL4_SetMR(seL4_TimeoutReply_R15, regs.r15);
    seL4_SetMR(seL4_TimeoutReply_TLS_BASE, regs.fs_base);
    return info;
}
