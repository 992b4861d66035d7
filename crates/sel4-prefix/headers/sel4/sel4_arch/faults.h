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
    case seL4_Fault_Timeout:
        return seL4_Fault_Timeout_new({{timeout_arguments}});
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

/*
 * The answer to a timeout that sets registers of the thread: as many words of the structure as `length` says. The kernel takes
 * seL4_TimeoutReply_Length of them at most, whose order is the structure's.
 */
LIBSEL4_INLINE_FUNC seL4_MessageInfo_t seL4_TimeoutReply_new(seL4_Bool resume, seL4_UserContext regs, seL4_Word length)
{
    const seL4_Word *words = (const seL4_Word *)&regs;
    for (seL4_Word n = 0; n < sizeof(regs) / sizeof(seL4_Word) && n < length; n++) {
        seL4_SetMR((int)n, words[n]);
    }
    return seL4_MessageInfo_new(!resume, 0, 0, length);
}
