/* What the initial thread is given. */

#pragma once

#include <sel4/config.h>
#include <sel4/macros.h>
#include <sel4/types.h>

enum seL4_RootCNodeCapSlots {
    seL4_CapNull = {{SLOT_NULL}},
    seL4_CapInitThreadTCB = {{SLOT_TCB}},
    seL4_CapInitThreadCNode = {{SLOT_CNODE}},
    seL4_CapInitThreadVSpace = {{SLOT_VSPACE}},
    seL4_CapIRQControl = {{SLOT_IRQ_CONTROL}},
    seL4_CapASIDControl = {{SLOT_ASID_CONTROL}},
    seL4_CapInitThreadASIDPool = {{SLOT_ASID_POOL}},
    seL4_CapIOPortControl = {{SLOT_IO_PORT_CONTROL}},
    seL4_CapIOSpace = {{SLOT_IO_SPACE}}, /* empty */
    seL4_CapBootInfoFrame = {{SLOT_BOOT_INFO_FRAME}},
    seL4_CapInitThreadIPCBuffer = {{SLOT_IPC_BUFFER}},
    seL4_CapDomain = {{SLOT_DOMAIN_SET}},
    seL4_CapSMMUSIDControl = 12, /* empty */
    seL4_CapSMMUCBControl = 13, /* empty */
    seL4_CapInitThreadSC = {{SLOT_SC}},
    seL4_CapSMC = 15, /* empty */
    seL4_NumInitialCaps = {{SLOT_FIRST_FREE}}
};

#define seL4_CapInitThreadPD seL4_CapInitThreadVSpace

typedef seL4_Word seL4_SlotPos;

/* Slots from `start` up to and without `end`. */
typedef struct seL4_SlotRegion {
    seL4_SlotPos start;
    seL4_SlotPos end;
} seL4_SlotRegion;

typedef struct seL4_UntypedDesc {
    seL4_Word paddr;
    seL4_Uint8 sizeBits;
    seL4_Uint8 isDevice;
    seL4_Uint8 padding[sizeof(seL4_Word) - 2 * sizeof(seL4_Uint8)];
} seL4_UntypedDesc;

typedef struct seL4_BootInfo {
    seL4_Word extraLen; /* bytes of chunks, one page on */
    seL4_NodeId nodeID;
    seL4_Word numNodes;
    seL4_Word numIOPTLevels; /* all ones: no IOMMU */
    seL4_IPCBuffer *ipcBuffer;
    seL4_SlotRegion empty;
    seL4_SlotRegion sharedFrames;
    seL4_SlotRegion userImageFrames;
    seL4_SlotRegion userImagePaging;
    seL4_SlotRegion ioSpaceCaps;
    seL4_SlotRegion extraBIPages;
    seL4_Word initThreadCNodeSizeBits;
    seL4_Domain initThreadDomain;
    seL4_SlotRegion schedcontrol;
    seL4_SlotRegion untyped;
    seL4_UntypedDesc untypedList[CONFIG_MAX_NUM_BOOTINFO_UNTYPED_CAPS];
} seL4_BootInfo;

SEL4_COMPILE_ASSERT(boot_info_size, sizeof(seL4_BootInfo) == {{BOOT_INFO_SIZE}})
SEL4_COMPILE_ASSERT(boot_info_list, SEL4_OFFSETOF(seL4_BootInfo, untypedList) == {{BOOT_INFO_LIST}})

#define seL4_BootInfoFrameBits seL4_PageBits
#define seL4_BootInfoFrameSize LIBSEL4_BIT(seL4_BootInfoFrameBits)

/* What a chunk is. */
typedef enum {
    SEL4_BOOTINFO_HEADER_PADDING = {{EXTRA_PADDING}},
    SEL4_BOOTINFO_HEADER_X86_VBE = {{EXTRA_VBE}},
    SEL4_BOOTINFO_HEADER_X86_MBMMAP = {{EXTRA_MBMMAP}},
    SEL4_BOOTINFO_HEADER_X86_ACPI_RSDP = {{EXTRA_ACPI_RSDP}},
    SEL4_BOOTINFO_HEADER_X86_FRAMEBUFFER = {{EXTRA_FRAMEBUFFER}},
    SEL4_BOOTINFO_HEADER_X86_TSC_FREQ = {{EXTRA_TSC_FREQ}}, /* 32 bits, MHz */
    SEL4_BOOTINFO_HEADER_FDT = 6,
    SEL4_BOOTINFO_HEADER_NUM,
    SEL4_FORCE_LONG_ENUM(seL4_BootInfoID)
} seL4_BootInfoID;

/* What a chunk begins with. */
typedef struct seL4_BootInfoHeader {
    seL4_Word id;
    seL4_Word len; /* with this header */
} seL4_BootInfoHeader;
