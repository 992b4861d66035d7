/* Where the boot information is, for programs that keep it in sel4_bootinfo.c. */

#pragma once

#include <sel4/bootinfo_types.h>

void seL4_InitBootInfo(seL4_BootInfo *info);
seL4_BootInfo *seL4_GetBootInfo(void);
