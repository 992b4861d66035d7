/* Sizes, and the words of fault messages. */

#pragma once

#include <sel4/config.h>
#include <sel4/macros.h>

#define TLS_GDT_ENTRY 7
#define TLS_GDT_SELECTOR ((TLS_GDT_ENTRY << 3) | 3)
#define IPCBUF_GDT_ENTRY 8
#define IPCBUF_GDT_SELECTOR ((IPCBUF_GDT_ENTRY << 3) | 3)

#define seL4_DataFault 0
#define seL4_InstructionFault 1

#define seL4_WordBits 64
#define seL4_WordSizeBits 3
#define seL4_PageBits {{PAGE_BITS}}
#define seL4_SlotBits {{SLOT_BITS}}
#define seL4_TCBBits {{TCB_BITS}}
#define seL4_EndpointBits {{ENDPOINT_BITS}}
#define seL4_NotificationBits {{NOTIFICATION_BITS}}
#define seL4_ReplyBits {{REPLY_BITS}}

#define seL4_PageTableBits {{PAGE_TABLE_BITS}}
#define seL4_PageTableEntryBits 3
#define seL4_PageTableIndexBits 9
#define seL4_PageDirBits {{PAGE_DIRECTORY_BITS}}
#define seL4_PageDirEntryBits 3
#define seL4_PageDirIndexBits 9
#define seL4_PDPTBits {{PDPT_BITS}}
#define seL4_PDPTEntryBits 3
#define seL4_PDPTIndexBits 9
#define seL4_PML4Bits {{PML4_BITS}}
#define seL4_PML4EntryBits 3
#define seL4_PML4IndexBits 9
#define seL4_VSpaceBits seL4_PML4Bits

#define seL4_IOPageTableBits 12
#define seL4_LargePageBits {{LARGE_PAGE_BITS}}
#define seL4_HugePageBits {{HUGE_PAGE_BITS}}
#define seL4_NumASIDPoolsBits 3
#define seL4_ASIDPoolBits 12
#define seL4_ASIDPoolIndexBits 9

#define seL4_MinUntypedBits {{MIN_UNTYPED_BITS}}
#define seL4_MaxUntypedBits {{MAX_UNTYPED_BITS}}

#define seL4_FastMessageRegisters {{MSG_REGISTERS}}
#define seL4_IPCBufferSizeBits {{IPC_BUFFER_BITS}}
/* The first address that a program cannot use. */
#define seL4_UserTop {{USER_TOP}}

#ifndef __ASSEMBLER__
SEL4_SIZE_SANITY(seL4_PageTableEntryBits, seL4_PageTableIndexBits, seL4_PageTableBits)
SEL4_SIZE_SANITY(seL4_PageDirEntryBits, seL4_PageDirIndexBits, seL4_PageDirBits)
SEL4_SIZE_SANITY(seL4_PDPTEntryBits, seL4_PDPTIndexBits, seL4_PDPTBits)
SEL4_SIZE_SANITY(seL4_PML4EntryBits, seL4_PML4IndexBits, seL4_PML4Bits)
SEL4_SIZE_SANITY(seL4_WordSizeBits, seL4_ASIDPoolIndexBits, seL4_ASIDPoolBits)

typedef enum {
{{vm_fault_words}}
    seL4_VMFault_Length,
    SEL4_FORCE_LONG_ENUM(seL4_VMFault_Msg)
} seL4_VMFault_Msg;

typedef enum {
{{unknown_syscall_words}}
    seL4_UnknownSyscall_Length,
    SEL4_FORCE_LONG_ENUM(seL4_UnknownSyscall_Msg)
} seL4_UnknownSyscall_Msg;

typedef enum {
{{user_exception_words}}
    seL4_UserException_Length,
    SEL4_FORCE_LONG_ENUM(seL4_UserException_Msg)
} seL4_UserException_Msg;

typedef enum {
    seL4_Timeout_Data,
    seL4_Timeout_Consumed,
    seL4_Timeout_Length,
    SEL4_FORCE_LONG_ENUM(seL4_Timeout_Msg)
} seL4_Timeout_Msg;
/* The older name. */
typedef seL4_Timeout_Msg seL4_TimeoutMsg;

typedef enum {
    seL4_TimeoutReply_FaultIP,
    seL4_TimeoutReply_RSP,
    seL4_TimeoutReply_FLAGS,
    seL4_TimeoutReply_RAX,
    seL4_TimeoutReply_RBX,
    seL4_TimeoutReply_RCX,
    seL4_TimeoutReply_RDX,
    seL4_TimeoutReply_RSI,
    seL4_TimeoutReply_RDI,
    seL4_TimeoutReply_RBP,
    seL4_TimeoutReply_R8,
    seL4_TimeoutReply_R9,
    seL4_TimeoutReply_R10,
    seL4_TimeoutReply_R11,
    seL4_TimeoutReply_R12,
    seL4_TimeoutReply_R13,
    seL4_TimeoutReply_R14,
    seL4_TimeoutReply_R15,
    seL4_TimeoutReply_TLS_BASE,
    seL4_TimeoutReply_Length,
    SEL4_FORCE_LONG_ENUM(seL4_TimeoutReply_Msg)
} seL4_TimeoutReply_Msg;

SEL4_COMPILE_ASSERT(timeout_reply_length, seL4_TimeoutReply_Length == {{TIMEOUT_REPLY_LENGTH}})
#endif
