/* What every program that uses the headers needs once. */

#include <sel4/sel4.h>

__thread seL4_IPCBuffer *__sel4_ipc_buffer LIBSEL4_WEAK;

static seL4_BootInfo *bootinfo;

void seL4_InitBootInfo(seL4_BootInfo *info)
{
    bootinfo = info;
}

seL4_BootInfo *seL4_GetBootInfo(void)
{
    return bootinfo;
}
