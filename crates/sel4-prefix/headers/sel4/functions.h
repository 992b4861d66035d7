/* Reading and writing the IPC buffer. */

#pragma once

#include <sel4/config.h>
#include <sel4/macros.h>
#include <sel4/types.h>

#ifdef LIBSEL4_USE_HIDDEN_IPC_BUFFER
#define LIBSEL4_IPC_BUFFER_VISIBILITY __attribute__((visibility("hidden")))
#else
#define LIBSEL4_IPC_BUFFER_VISIBILITY
#endif

/* Every thread sets its own. */
extern __thread seL4_IPCBuffer *__sel4_ipc_buffer LIBSEL4_IPC_BUFFER_VISIBILITY;

LIBSEL4_INLINE_FUNC void seL4_SetIPCBuffer(seL4_IPCBuffer *buffer)
{
    __sel4_ipc_buffer = buffer;
}

LIBSEL4_INLINE_FUNC seL4_IPCBuffer *seL4_GetIPCBuffer(void)
{
    return __sel4_ipc_buffer;
}

LIBSEL4_INLINE_FUNC seL4_Word seL4_GetMR(int index)
{
    return seL4_GetIPCBuffer()->msg[index];
}

LIBSEL4_INLINE_FUNC void seL4_SetMR(int index, seL4_Word value)
{
    seL4_GetIPCBuffer()->msg[index] = value;
}

LIBSEL4_INLINE_FUNC seL4_Word seL4_GetUserData(void)
{
    return seL4_GetIPCBuffer()->userData;
}

LIBSEL4_INLINE_FUNC void seL4_SetUserData(seL4_Word data)
{
    seL4_GetIPCBuffer()->userData = data;
}

LIBSEL4_INLINE_FUNC seL4_Word seL4_GetBadge(int index)
{
    return seL4_GetIPCBuffer()->caps_or_badges[index];
}

LIBSEL4_INLINE_FUNC seL4_CPtr seL4_GetCap(int index)
{
    return seL4_GetIPCBuffer()->caps_or_badges[index];
}

LIBSEL4_INLINE_FUNC void seL4_SetCap(int index, seL4_CPtr cptr)
{
    seL4_GetIPCBuffer()->caps_or_badges[index] = cptr;
}

LIBSEL4_INLINE_FUNC void seL4_GetCapReceivePath(seL4_CPtr *cnode, seL4_CPtr *index, seL4_Word *depth)
{
    const seL4_IPCBuffer *buffer = seL4_GetIPCBuffer();
    if (cnode != seL4_Null) {
        *cnode = buffer->receiveCNode;
    }
    if (index != seL4_Null) {
        *index = buffer->receiveIndex;
    }
    if (depth != seL4_Null) {
        *depth = buffer->receiveDepth;
    }
}

LIBSEL4_INLINE_FUNC void seL4_SetCapReceivePath(seL4_CPtr cnode, seL4_CPtr index, seL4_Word depth)
{
    seL4_IPCBuffer *buffer = seL4_GetIPCBuffer();
    buffer->receiveCNode = cnode;
    buffer->receiveIndex = index;
    buffer->receiveDepth = depth;
}
