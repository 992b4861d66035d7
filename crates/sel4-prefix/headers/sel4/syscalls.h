/* System calls. */

#pragma once

#include <sel4/config.h>
#include <sel4/functions.h>
#include <sel4/arch/syscalls.h>
#include <sel4/syscalls_mcs.h>

/* A debug call with one word that goes in and comes back. */
LIBSEL4_INLINE_FUNC seL4_Word libsel4_debug(seL4_Word sys, seL4_Word word)
{
    seL4_Word info, mr0 = 0, mr1 = 0, mr2 = 0, mr3 = 0;
    x64_sys_send_recv(sys, word, &word, 0, &info, &mr0, &mr1, &mr2, &mr3, 0);
    return word;
}

#ifdef CONFIG_PRINTING
LIBSEL4_INLINE_FUNC void seL4_DebugPutChar(char c)
{
    (void)libsel4_debug(seL4_SysDebugPutChar, (unsigned char)c);
}

LIBSEL4_INLINE_FUNC void seL4_DebugPutString(const char *text)
{
    for (; *text != 0; text++) {
        seL4_DebugPutChar(*text);
    }
}

LIBSEL4_INLINE_FUNC void seL4_DebugDumpScheduler(void)
{
    (void)libsel4_debug(seL4_SysDebugDumpScheduler, 0);
}
#endif

#ifdef CONFIG_DEBUG_BUILD
LIBSEL4_INLINE_FUNC void seL4_DebugHalt(void)
{
    x64_sys_null(seL4_SysDebugHalt);
}

LIBSEL4_INLINE_FUNC void seL4_DebugSnapshot(void)
{
    x64_sys_null(seL4_SysDebugSnapshot);
}

LIBSEL4_INLINE_FUNC seL4_Uint32 seL4_DebugCapIdentify(seL4_CPtr cap)
{
    return (seL4_Uint32)libsel4_debug(seL4_SysDebugCapIdentify, cap);
}

/* The name is passed in the IPC buffer's message words, with its end. */
LIBSEL4_INLINE_FUNC void seL4_DebugNameThread(seL4_CPtr tcb, const char *name)
{
    char *to = (char *)seL4_GetIPCBuffer()->msg;
    seL4_Word n = 0;
    while (name[n] != 0 && n < seL4_MsgMaxLength * sizeof(seL4_Word) - 1) {
        to[n] = name[n];
        n++;
    }
    to[n] = 0;
    (void)libsel4_debug(seL4_SysDebugNameThread, tcb);
}
#endif

#ifdef CONFIG_SET_TLS_BASE_SELF
/* Sets the calling thread's FS base. */
LIBSEL4_INLINE_FUNC void seL4_SetTLSBase(seL4_Word base)
{
    x64_sys_send_null(seL4_SysSetTLSBase, base, 0);
}
#endif
