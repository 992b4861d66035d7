/* Numbers of x86. */

#pragma once

#include <sel4/config.h>

/* Of interrupts. */
#define IRQ_OFFSET 0x30
#define VECTOR_MIN 0
#define VECTOR_MAX 109
#define MSI_MIN 0
#define MSI_MAX 109

/* Sizes of objects of VT-x, which this kernel does not have. */
#define seL4_VCPUBits 14
#define seL4_X86_VCPUBits seL4_VCPUBits
#define seL4_X86_EPTPML4EntryBits 3
#define seL4_X86_EPTPML4IndexBits 9
#define seL4_X86_EPTPML4Bits 12
#define seL4_X86_EPTPDPTEntryBits 3
#define seL4_X86_EPTPDPTIndexBits 9
#define seL4_X86_EPTPDPTBits 12
#define seL4_X86_EPTPDEntryBits 3
#define seL4_X86_EPTPDIndexBits 9
#define seL4_X86_EPTPDBits 12
#define seL4_X86_EPTPTEntryBits 3
#define seL4_X86_EPTPTIndexBits 9
#define seL4_X86_EPTPTBits 12
