/* Kinds of objects that x86_64 has. */

#pragma once

#include <sel4/config.h>
#include <sel4/objecttype.h>

typedef enum _mode_object {
    seL4_X86_PDPTObject = {{X86_PDPT}},
    seL4_X64_PML4Object = {{X64_PML4}},
    seL4_X64_HugePageObject = {{X64_HUGE_PAGE}},
    seL4_ModeObjectTypeCount
} seL4_seL4ArchObjectType;

/* The name on 32 bits. */
#define seL4_IA32_PDPTObject seL4_X86_PDPTObject
