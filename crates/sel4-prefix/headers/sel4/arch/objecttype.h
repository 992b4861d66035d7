/* Kinds of objects that x86 has; Umbra's own kinds, counted with them, are in umbra/objecttype.h. */

#pragma once

#include <sel4/config.h>
#include <sel4/sel4_arch/objecttype.h>

typedef enum _object {
    seL4_X86_4K = {{X86_4K}},
    seL4_X86_LargePageObject = {{X86_LARGE_PAGE}},
    seL4_X86_PageTableObject = {{X86_PAGE_TABLE}},
    seL4_X86_PageDirectoryObject = {{X86_PAGE_DIRECTORY}},
    /* Everything from here on is refused. */
    seL4_ObjectTypeCount = {{OBJECT_TYPE_COUNT}}
} seL4_ArchObjectType;

typedef seL4_Word object_t;

/* Kinds that this kernel does not have. */
#define seL4_X86_IOPageTableObject 0xffffff
#define seL4_X86_VCPUObject 0xfffffe
#define seL4_X86_EPTPML4Object 0xfffffd
#define seL4_X86_EPTPDPTObject 0xfffffc
#define seL4_X86_EPTPDObject 0xfffffb
#define seL4_X86_EPTPTObject 0xfffffa
