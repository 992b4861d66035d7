/* The IPC buffer, and rights by name. */

#pragma once

#include <sel4/config.h>
#include <sel4/macros.h>
#include <sel4/constants.h>
#include <sel4/sel4_arch/constants.h>
#include <sel4/shared_types_gen.h>

typedef struct seL4_IPCBuffer_ {
    seL4_MessageInfo_t tag;
    seL4_Word msg[seL4_MsgMaxLength];
    seL4_Word userData;
    seL4_Word caps_or_badges[seL4_MsgMaxExtraCaps];
    seL4_CPtr receiveCNode;
    seL4_CPtr receiveIndex;
    seL4_Word receiveDepth;
} seL4_IPCBuffer __attribute__((__aligned__(1 << seL4_IPCBufferSizeBits)));

SEL4_COMPILE_ASSERT(ipc_buffer_size, sizeof(seL4_IPCBuffer) == {{IPC_BUFFER_SIZE}})
SEL4_COMPILE_ASSERT(ipc_buffer_msg, SEL4_OFFSETOF(seL4_IPCBuffer, msg) == {{IPC_BUFFER_MSG}})
SEL4_COMPILE_ASSERT(ipc_buffer_caps, SEL4_OFFSETOF(seL4_IPCBuffer, caps_or_badges) == {{IPC_BUFFER_CAPS}})
SEL4_COMPILE_ASSERT(ipc_buffer_depth, SEL4_OFFSETOF(seL4_IPCBuffer, receiveDepth) == {{IPC_BUFFER_DEPTH}})

/* The words of a capability fault. The look-up's details stand where they stand in an error's answer, two words on. */
typedef enum {
    seL4_CapFault_IP,
    seL4_CapFault_Addr,
    seL4_CapFault_InRecvPhase,
    seL4_CapFault_LookupFailureType,
    seL4_CapFault_BitsLeft,
    seL4_CapFault_DepthMismatch_BitsFound,
    seL4_CapFault_GuardMismatch_GuardFound = seL4_CapFault_DepthMismatch_BitsFound,
    seL4_CapFault_GuardMismatch_BitsFound,
    SEL4_FORCE_LONG_ENUM(seL4_CapFault_Msg)
} seL4_CapFault_Msg;

#define seL4_ReadWrite seL4_CapRights_new(0, 0, 1, 1)
#define seL4_AllRights seL4_CapRights_new(1, 1, 1, 1)
#define seL4_CanRead seL4_CapRights_new(0, 0, 1, 0)
#define seL4_CanWrite seL4_CapRights_new(0, 0, 0, 1)
#define seL4_CanGrant seL4_CapRights_new(0, 1, 0, 0)
#define seL4_CanGrantReply seL4_CapRights_new(1, 0, 0, 0)
#define seL4_NoWrite seL4_CapRights_new(1, 1, 1, 0)
#define seL4_NoRead seL4_CapRights_new(1, 1, 0, 1)
#define seL4_NoRights seL4_CapRights_new(0, 0, 0, 0)
