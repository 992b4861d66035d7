/*
 * The SYSCALL instruction: number in rdx, capability in rdi (badge on return), message information in rsi, message words in
 * r10, r8, r9 and r15, reply object in r12, the send phase's destination in r13.
 *
 * The instruction itself overwrites rcx and r11. The kernel may return with rsp lost, so rbx keeps it.
 */

#pragma once

#include <sel4/config.h>
#include <sel4/types.h>

#define X64_SYSCALL_INSTRUCTION "movq %%rsp, %%rbx\n\tsyscall\n\tmovq %%rbx, %%rsp"

/* Sends four words and takes no answer. */
LIBSEL4_INLINE void x64_sys_send(seL4_Word sys, seL4_Word dest, seL4_Word info, seL4_Word mr0, seL4_Word mr1,
                                 seL4_Word mr2, seL4_Word mr3)
{
    register seL4_Word r10 __asm__("r10") = mr0;
    register seL4_Word r8 __asm__("r8") = mr1;
    register seL4_Word r9 __asm__("r9") = mr2;
    register seL4_Word r15 __asm__("r15") = mr3;
    __asm__ volatile(X64_SYSCALL_INSTRUCTION
                     : "+r"(r10), "+r"(r8), "+r"(r9), "+r"(r15), "+D"(dest), "+S"(info)
                     : "d"(sys)
                     : "rbx", "rcx", "r11", "memory");
}

/* Sends no words. */
LIBSEL4_INLINE void x64_sys_send_null(seL4_Word sys, seL4_Word dest, seL4_Word info)
{
    __asm__ volatile(X64_SYSCALL_INSTRUCTION
                     : "+D"(dest), "+S"(info)
                     : "d"(sys)
                     : "rbx", "rcx", "r11", "memory");
}

/* Sends and receives; the capability goes in and the badge comes out. */
LIBSEL4_INLINE void x64_sys_send_recv(seL4_Word sys, seL4_Word dest, seL4_Word *badge, seL4_Word info,
                                      seL4_Word *out_info, seL4_Word *mr0, seL4_Word *mr1, seL4_Word *mr2,
                                      seL4_Word *mr3, seL4_Word reply)
{
    register seL4_Word r10 __asm__("r10") = *mr0;
    register seL4_Word r8 __asm__("r8") = *mr1;
    register seL4_Word r9 __asm__("r9") = *mr2;
    register seL4_Word r15 __asm__("r15") = *mr3;
    register seL4_Word r12 __asm__("r12") = reply;
    __asm__ volatile(X64_SYSCALL_INSTRUCTION
                     : "+r"(r10), "+r"(r8), "+r"(r9), "+r"(r15), "+D"(dest), "+S"(info)
                     : "d"(sys), "r"(r12)
                     : "rbx", "rcx", "r11", "memory");
    *badge = dest;
    *out_info = info;
    *mr0 = r10;
    *mr1 = r8;
    *mr2 = r9;
    *mr3 = r15;
}

/* Receives. */
LIBSEL4_INLINE void x64_sys_recv(seL4_Word sys, seL4_Word src, seL4_Word *badge, seL4_Word *out_info, seL4_Word *mr0,
                                 seL4_Word *mr1, seL4_Word *mr2, seL4_Word *mr3, seL4_Word reply)
{
    *mr0 = 0;
    *mr1 = 0;
    *mr2 = 0;
    *mr3 = 0;
    x64_sys_send_recv(sys, src, badge, 0, out_info, mr0, mr1, mr2, mr3, reply);
}

/* Sends to `dest` without blocking, then receives from `src`. */
LIBSEL4_INLINE void x64_sys_nbsend_recv(seL4_Word sys, seL4_Word dest, seL4_Word src, seL4_Word *badge, seL4_Word info,
                                        seL4_Word *out_info, seL4_Word *mr0, seL4_Word *mr1, seL4_Word *mr2,
                                        seL4_Word *mr3, seL4_Word reply)
{
    register seL4_Word r10 __asm__("r10") = *mr0;
    register seL4_Word r8 __asm__("r8") = *mr1;
    register seL4_Word r9 __asm__("r9") = *mr2;
    register seL4_Word r15 __asm__("r15") = *mr3;
    register seL4_Word r12 __asm__("r12") = reply;
    register seL4_Word r13 __asm__("r13") = dest;
    __asm__ volatile(X64_SYSCALL_INSTRUCTION
                     : "+r"(r10), "+r"(r8), "+r"(r9), "+r"(r15), "+D"(src), "+S"(info)
                     : "d"(sys), "r"(r12), "r"(r13)
                     : "rbx", "rcx", "r11", "memory");
    *badge = src;
    *out_info = info;
    *mr0 = r10;
    *mr1 = r8;
    *mr2 = r9;
    *mr3 = r15;
}

/* Neither sends nor receives. */
LIBSEL4_INLINE void x64_sys_null(seL4_Word sys)
{
    __asm__ volatile(X64_SYSCALL_INSTRUCTION
                     :
                     : "d"(sys)
                     : "rbx", "rcx", "r11", "memory");
}
