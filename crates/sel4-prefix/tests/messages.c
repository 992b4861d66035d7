/* What the headers do with the IPC buffer alone, without a kernel. Ends with the line of the first statement that is false. */

#include <sel4/sel4.h>

#define HOLDS(statement) \
    if (!(statement)) { \
        return __LINE__; \
    }

__thread seL4_IPCBuffer *__sel4_ipc_buffer;
static seL4_IPCBuffer buffer;

/* The answer to a timeout has the registers' words, as many as its length says. */
static int timeout_reply(void)
{
    seL4_UserContext regs;
    const seL4_Word words = sizeof(regs) / sizeof(seL4_Word);
    for (unsigned n = 0; n < words; n++) {
        ((seL4_Word *)&regs)[n] = 100 + n;
    }
    /* Longer than the structure: nothing beyond it is read. */
    seL4_SetMR(words, 7);
    seL4_MessageInfo_t info = seL4_TimeoutReply_new(1, regs, words + 1);
    HOLDS(seL4_MessageInfo_get_label(info) == 0);
    HOLDS(seL4_MessageInfo_get_length(info) == words + 1);
    HOLDS(seL4_GetMR(seL4_TimeoutReply_FaultIP) == regs.rip);
    HOLDS(seL4_GetMR(seL4_TimeoutReply_RSP) == regs.rsp);
    HOLDS(seL4_GetMR(seL4_TimeoutReply_FLAGS) == regs.rflags);
    HOLDS(seL4_GetMR(seL4_TimeoutReply_RAX) == regs.rax);
    HOLDS(seL4_GetMR(seL4_TimeoutReply_RBP) == regs.rbp);
    HOLDS(seL4_GetMR(seL4_TimeoutReply_R8) == regs.r8);
    HOLDS(seL4_GetMR(seL4_TimeoutReply_R15) == regs.r15);
    HOLDS(seL4_GetMR(seL4_TimeoutReply_TLS_BASE) == regs.fs_base);
    HOLDS(seL4_GetMR(seL4_TimeoutReply_Length) == regs.gs_base);
    HOLDS(seL4_GetMR(words) == 7);
    seL4_SetMR(seL4_TimeoutReply_FLAGS, 8);
    info = seL4_TimeoutReply_new(0, regs, seL4_TimeoutReply_FLAGS);
    HOLDS(seL4_MessageInfo_get_label(info) == 1);
    HOLDS(seL4_GetMR(seL4_TimeoutReply_RSP) == regs.rsp);
    HOLDS(seL4_GetMR(seL4_TimeoutReply_FLAGS) == 8);
    return 0;
}

static seL4_Fault_t fault(seL4_Word label)
{
    return seL4_getFault(seL4_MessageInfo_new(label, 0, 0, 0));
}

/* Each fault has its message's words under their names. */
static int faults(void)
{
    for (int n = 0; n < seL4_UnknownSyscall_Length; n++) {
        seL4_SetMR(n, 10 + n);
    }
    seL4_Fault_t timeout = fault(seL4_Fault_Timeout);
    HOLDS(seL4_Fault_seL4_FaultType_equals(timeout, seL4_Fault_Timeout));
    HOLDS(!seL4_Fault_seL4_FaultType_equals(timeout, seL4_Fault_VMFault));
    HOLDS(seL4_Fault_Timeout_get_data(timeout) == 10);
    HOLDS(seL4_Fault_Timeout_get_consumed(timeout) == 11);
    seL4_Fault_t page = fault(seL4_Fault_VMFault);
    HOLDS(seL4_Fault_get_seL4_FaultType(page) == seL4_Fault_VMFault);
    HOLDS(seL4_Fault_VMFault_get_IP(page) == 10);
    HOLDS(seL4_Fault_VMFault_get_FSR(page) == 13);
    seL4_Fault_t call = fault(seL4_Fault_UnknownSyscall);
    HOLDS(seL4_Fault_UnknownSyscall_get_RAX(call) == 10);
    HOLDS(seL4_Fault_UnknownSyscall_get_Syscall(call) == 10 + seL4_UnknownSyscall_Syscall);
    seL4_Fault_t exception = fault(seL4_Fault_UserException);
    HOLDS(seL4_Fault_UserException_get_Code(exception) == 10 + seL4_UserException_Code);
    seL4_Fault_t cap = fault(seL4_Fault_CapFault);
    HOLDS(seL4_Fault_CapFault_get_MR6(cap) == 10 + seL4_CapFault_GuardMismatch_BitsFound);
    HOLDS(seL4_Fault_get_seL4_FaultType(fault(100)) == seL4_Fault_NullFault);
    return 0;
}

int main(void)
{
    seL4_SetIPCBuffer(&buffer);
    int line = timeout_reply();
    return line != 0 ? line : faults();
}
