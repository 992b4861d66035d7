/*
 * A root task in C, built with nothing but the install prefix: it looks at its boot information, makes objects, talks to a
 * second thread, and reads the faults of that thread. Every check prints a line `c-root NAME ok` or `c-root NAME failed`;
 * the number of failures goes to QEMU's exit port.
 */

#include <sel4/sel4.h>
#include <sel4/arch/bootinfo_types.h>
#include <sel4/arch/mapping.h>
#include <sel4/sel4_arch/mapping.h>
#include <umbra/bootinfo_types.h>

extern char __executable_start[];
extern char odd_syscall_instruction[], undefined_instruction[], read_word_instruction[], second_start[];
void odd_syscall(void);
void undefined(void);
seL4_Word read_word(const void *address);

void c_main(seL4_BootInfo *info);
void second_main(void);

/* ---- Output ---- */

static void put_number(seL4_Word value)
{
    char digits[20];
    int n = 0;
    do {
        digits[n++] = "0123456789abcdef"[value % 16];
        value /= 16;
    } while (value != 0);
    seL4_DebugPutString("0x");
    while (n > 0) {
        seL4_DebugPutChar(digits[--n]);
    }
}

static void put_value(const char *name, seL4_Word value)
{
    seL4_DebugPutChar(' ');
    seL4_DebugPutString(name);
    seL4_DebugPutChar('=');
    put_number(value);
}

static seL4_Word failures;

/* One check: `failed` is 0, or the line of the first condition that did not hold. */
static void report(const char *name, int failed)
{
    seL4_DebugPutString("c-root ");
    seL4_DebugPutString(name);
    if (failed == 0) {
        seL4_DebugPutString(" ok\n");
        return;
    }
    failures++;
    seL4_DebugPutString(" failed");
    put_value("line", (seL4_Word)failed);
    seL4_DebugPutString("\n");
}

#define HOLDS(condition)      \
    do {                      \
        if (!(condition)) {   \
            return __LINE__;  \
        }                     \
    } while (0)

/* ---- What every thread needs ---- */

/* The thread pointer: the one thread-local variable lies right below it. */
struct tls {
    char below[64];
    void *self;
} __attribute__((aligned(64)));

static struct tls main_tls, second_tls;

static seL4_Word thread_pointer(struct tls *tls)
{
    tls->self = &tls->self;
    return (seL4_Word)&tls->self;
}

/* ---- Objects ---- */

static seL4_BootInfo *boot;
static seL4_CPtr next_slot;
static seL4_Untyped memory;

enum { ROOT = seL4_CapInitThreadCNode, DEPTH = seL4_WordBits };

static seL4_CPtr make(seL4_Word type, seL4_Word size_bits)
{
    seL4_Error error = seL4_Untyped_Retype(memory, type, size_bits, ROOT, 0, 0, next_slot, 1);
    return error == seL4_NoError ? next_slot++ : seL4_CapNull;
}

static int boot_information(void)
{
    HOLDS(boot->nodeID == 0 && boot->numNodes == 1);
    HOLDS(boot->numIOPTLevels == (seL4_Word)-1);
    HOLDS((seL4_Word)boot->ipcBuffer % sizeof(seL4_IPCBuffer) == 0);
    HOLDS(boot->initThreadCNodeSizeBits == CONFIG_ROOT_CNODE_SIZE_BITS);
    HOLDS(boot->empty.end == LIBSEL4_BIT(boot->initThreadCNodeSizeBits));
    HOLDS(boot->schedcontrol.start == seL4_NumInitialCaps);
    HOLDS(boot->schedcontrol.end - boot->schedcontrol.start == CONFIG_MAX_NUM_NODES);
    /* Image, boot information and IPC buffer follow one another. */
    HOLDS(boot->userImageFrames.end - boot->userImageFrames.start
          == ((seL4_Word)boot->ipcBuffer - (seL4_Word)__executable_start) / 4096);
    HOLDS((seL4_Word)boot == (seL4_Word)boot->ipcBuffer + 4096);
    HOLDS(boot->userImagePaging.end - boot->userImagePaging.start >= 3);
    HOLDS(boot->extraBIPages.end - boot->extraBIPages.start == (boot->extraLen + 4095) / 4096);
    HOLDS(boot->untyped.end == boot->empty.start);
    HOLDS(boot->initThreadDomain == 0);
    return 0;
}

static int initial_capabilities(void)
{
    HOLDS(seL4_DebugCapIdentify(seL4_CapNull) == 0);
    HOLDS(seL4_DebugCapIdentify(seL4_CapIOSpace) == 0);
    HOLDS(seL4_DebugCapIdentify(seL4_CapSMC) == 0);
    for (seL4_CPtr slot = seL4_CapInitThreadTCB; slot <= seL4_CapDomain; slot++) {
        HOLDS(slot == seL4_CapIOSpace || seL4_DebugCapIdentify(slot) != 0);
    }
    HOLDS(seL4_DebugCapIdentify(seL4_CapInitThreadSC) == 22);
    HOLDS(seL4_DebugCapIdentify(boot->schedcontrol.start) == 24);
    HOLDS(seL4_DebugCapIdentify(boot->empty.start) == 0);
    HOLDS(seL4_DebugCapIdentify(boot->empty.start - 1) == 2);
    return 0;
}

static int untyped_list(void)
{
    seL4_Word count = boot->untyped.end - boot->untyped.start;
    int ram = 0;
    HOLDS(count > 0 && count <= CONFIG_MAX_NUM_BOOTINFO_UNTYPED_CAPS);
    for (seL4_Word n = 0; n < count; n++) {
        seL4_UntypedDesc desc = boot->untypedList[n];
        seL4_DebugPutString("c-root untyped");
        put_value("address", desc.paddr);
        put_value("bits", desc.sizeBits);
        put_value("device", desc.isDevice);
        seL4_DebugPutString("\n");
        HOLDS(desc.sizeBits >= seL4_MinUntypedBits && desc.sizeBits <= seL4_MaxUntypedBits);
        HOLDS(desc.paddr % LIBSEL4_BIT(desc.sizeBits) == 0);
        HOLDS(seL4_DebugCapIdentify(boot->untyped.start + n) == 2);
        /* What is below 1 MiB is the firmware's. */
        HOLDS(desc.isDevice || desc.paddr >= LIBSEL4_BIT(20));
        /* Devices first. */
        HOLDS(desc.isDevice ? !ram : 1);
        ram |= !desc.isDevice;
        if (!desc.isDevice && desc.sizeBits >= 20) {
            memory = boot->untyped.start + n;
        }
    }
    HOLDS(ram && memory != 0);
    HOLDS(boot->untypedList[0].paddr == 0 && boot->untypedList[0].sizeBits == 20);
    return 0;
}

static int extra_chunks(void)
{
    const seL4_Word order[] = {SEL4_BOOTINFO_HEADER_X86_ACPI_RSDP, SEL4_BOOTINFO_HEADER_X86_MBMMAP,
                               SEL4_BOOTINFO_HEADER_X86_TSC_FREQ, UMBRA_BOOTINFO_HEADER_COMMAND_LINE};
    seL4_Word at = (seL4_Word)boot + seL4_BootInfoFrameSize, end = at + boot->extraLen;
    for (int n = 0; n < 4; n++) {
        const seL4_BootInfoHeader *chunk = (const seL4_BootInfoHeader *)at;
        HOLDS(at + sizeof *chunk <= end && at + chunk->len <= end);
        seL4_DebugPutString("c-root chunk");
        put_value("id", chunk->id);
        put_value("length", chunk->len);
        seL4_DebugPutString("\n");
        HOLDS(chunk->id == order[n]);
        if (chunk->id == SEL4_BOOTINFO_HEADER_X86_MBMMAP) {
            const seL4_X86_BootInfo_mmap_t *map = (const seL4_X86_BootInfo_mmap_t *)at;
            HOLDS(chunk->len == sizeof *map);
            HOLDS(map->mmap_length > 0 && map->mmap_length % sizeof map->mmap[0] == 0);
            HOLDS(map->mmap[0].size == sizeof map->mmap[0] - 4);
        }
        if (chunk->id == SEL4_BOOTINFO_HEADER_X86_ACPI_RSDP) {
            HOLDS(chunk->len == sizeof *chunk + 36 && *(const seL4_Word *)(chunk + 1) == 0x2052545020445352);
        }
        if (chunk->id == SEL4_BOOTINFO_HEADER_X86_TSC_FREQ) {
            HOLDS(chunk->len == sizeof *chunk + 4 && *(const seL4_Uint32 *)(chunk + 1) > 0);
        }
        if (chunk->id == UMBRA_BOOTINFO_HEADER_COMMAND_LINE) {
            /* QEMU puts the kernel's path first. */
            HOLDS(chunk->len > sizeof *chunk && *(const char *)(chunk + 1) == '/');
        }
        at += chunk->len;
    }
    HOLDS(at == end);
    return 0;
}

static seL4_CPtr endpoint, badged, notification, tcb, context, reply, frame;

static int objects(void)
{
    endpoint = make(seL4_EndpointObject, 0);
    notification = make(seL4_NotificationObject, 0);
    tcb = make(seL4_TCBObject, 0);
    context = make(seL4_SchedContextObject, seL4_MinSchedContextBits + 1);
    reply = make(seL4_ReplyObject, 0);
    frame = make(seL4_X86_4K, 0);
    HOLDS(endpoint && notification && tcb && context && reply && frame);
    HOLDS(seL4_DebugCapIdentify(endpoint) == 4 && seL4_DebugCapIdentify(notification) == 6);
    HOLDS(seL4_DebugCapIdentify(tcb) == 12 && seL4_DebugCapIdentify(reply) == 8);
    badged = next_slot++;
    HOLDS(seL4_CNode_Mint(ROOT, badged, DEPTH, ROOT, endpoint, DEPTH, seL4_AllRights, 77) == seL4_NoError);
    return 0;
}

static int error_replies(void)
{
    HOLDS(seL4_Untyped_Retype(memory, seL4_ObjectTypeCount, 0, ROOT, 0, 0, next_slot, 1) == seL4_InvalidArgument);
    HOLDS(seL4_GetMR(0) == 0);
    HOLDS(seL4_Untyped_Retype(memory, seL4_EndpointObject, 0, ROOT, 0, 0, endpoint, 1) == seL4_DeleteFirst);
    HOLDS(seL4_Untyped_Retype(memory, seL4_EndpointObject, 0, ROOT, 0, 0, next_slot, 0) == seL4_RangeError);
    HOLDS(seL4_GetMR(0) == 1 && seL4_GetMR(1) == seL4_UntypedRetypeMaxObjects);
    HOLDS(seL4_TCB_SetPriority(tcb, seL4_CapInitThreadTCB, 256) == seL4_RangeError);
    HOLDS(seL4_GetMR(0) == 0 && seL4_GetMR(1) == seL4_MaxPrio);
    HOLDS(seL4_TCB_SetPriority(tcb, endpoint, 1) == seL4_InvalidCapability);
    HOLDS(seL4_GetMR(0) == 1);
    HOLDS(seL4_CNode_Copy(ROOT, next_slot, DEPTH, ROOT, next_slot + 1, DEPTH, seL4_AllRights) == seL4_FailedLookup);
    HOLDS(seL4_GetMR(0) == 1 && seL4_GetMR(1) == seL4_MissingCapability && seL4_GetMR(2) == DEPTH);
    HOLDS(seL4_TCB_Resume(seL4_CapNull) == seL4_InvalidCapability);
    HOLDS(seL4_TCB_SetIPCBuffer(tcb, 8, frame) == seL4_AlignmentError);
    HOLDS(seL4_SchedControl_Configure(boot->schedcontrol.start, context, 1, 1000, 0, 0) == seL4_RangeError);
    return 0;
}

/* Beyond what the image's tables cover. */
#define SECOND_BUFFER 0x10000000000ul

static int mapping(void)
{
    seL4_CPtr vspace = seL4_CapInitThreadVSpace;
    const seL4_Word levels[] = {SEL4_MAPPING_LOOKUP_NO_PDPT, SEL4_MAPPING_LOOKUP_NO_PD, SEL4_MAPPING_LOOKUP_NO_PT};
    const seL4_Word types[] = {seL4_X86_PDPTObject, seL4_X86_PageDirectoryObject, seL4_X86_PageTableObject};
    seL4_X86_PageTable table = 0;
    for (int n = 0; n < 3; n++) {
        HOLDS(seL4_X86_Page_Map(frame, vspace, SECOND_BUFFER, seL4_ReadWrite, seL4_X86_Default_VMAttributes)
              == seL4_FailedLookup);
        HOLDS(seL4_MappingFailedLookupLevel() == levels[n]);
        table = make(types[n], 0);
        HOLDS(table != 0);
        switch (types[n]) {
        case seL4_X86_PDPTObject:
            HOLDS(seL4_X86_PDPT_Map(table, vspace, SECOND_BUFFER, 0) == seL4_NoError);
            break;
        case seL4_X86_PageDirectoryObject:
            HOLDS(seL4_X86_PageDirectory_Map(table, vspace, SECOND_BUFFER, 0) == seL4_NoError);
            break;
        default:
            HOLDS(seL4_X86_PageTable_Map(table, vspace, SECOND_BUFFER, 0) == seL4_NoError);
        }
    }
    HOLDS(seL4_X86_PageTable_Map(table, vspace, SECOND_BUFFER, 0) == seL4_InvalidCapability);
    HOLDS(seL4_X86_Page_Map(frame, vspace, SECOND_BUFFER, seL4_ReadWrite, 0) == seL4_NoError);
    seL4_X86_Page_GetAddress_t address = seL4_X86_Page_GetAddress(frame);
    HOLDS(address.error == seL4_NoError && address.paddr % 4096 == 0);
    *(volatile seL4_Word *)SECOND_BUFFER = 0x5e14;
    HOLDS(*(volatile seL4_Word *)SECOND_BUFFER == 0x5e14);
    *(volatile seL4_Word *)SECOND_BUFFER = 0;
    return 0;
}

/* ---- The second thread ---- */

static char second_stack[16384] __attribute__((aligned(16)));
static volatile seL4_Word second_saw[4];
static const void *const NOWHERE = (const void *)0x123456789000ul;

/* Calls twice, signals, then faults in three ways. */
void second_main(void)
{
    seL4_SetIPCBuffer((seL4_IPCBuffer *)SECOND_BUFFER);
    for (seL4_Word n = 0; n < 6; n++) {
        seL4_SetMR((int)n, 100 + n);
    }
    seL4_MessageInfo_t info = seL4_Call(badged, seL4_MessageInfo_new(5, 0, 0, 6));
    second_saw[0] = seL4_MessageInfo_get_length(info) << 8 | seL4_MessageInfo_get_label(info);
    second_saw[1] = seL4_GetMR(0);
    second_saw[2] = seL4_GetMR(4);
    seL4_Word word = 3;
    info = seL4_CallWithMRs(badged, seL4_MessageInfo_new(6, 0, 0, 1), &word, seL4_Null, seL4_Null, seL4_Null);
    second_saw[3] = word;
    seL4_Signal(notification);
    odd_syscall();
    undefined();
    (void)read_word(NOWHERE);
}

static int start_thread(void)
{
    HOLDS(seL4_SchedControl_ConfigureFlags(boot->schedcontrol.start, context, 10000, 10000, 0, 9,
                                           seL4_SchedContext_NoFlag) == seL4_NoError);
    HOLDS(seL4_TCB_Configure(tcb, ROOT, 0, seL4_CapInitThreadVSpace, 0, SECOND_BUFFER, frame) == seL4_NoError);
    HOLDS(seL4_TCB_SetSchedParams(tcb, seL4_CapInitThreadTCB, 0, 100, context, badged) == seL4_NoError);
    seL4_DebugNameThread(tcb, "second thread");
    seL4_UserContext regs = {0};
    regs.rip = (seL4_Word)second_start;
    regs.rsp = (seL4_Word)(second_stack + sizeof second_stack);
    regs.fs_base = thread_pointer(&second_tls);
    HOLDS(seL4_TCB_WriteRegisters(tcb, 1, 0, sizeof regs / sizeof(seL4_Word), &regs) == seL4_NoError);
    return 0;
}

static int calls(void)
{
    seL4_Word badge = 0;
    seL4_MessageInfo_t info = seL4_Recv(endpoint, &badge, reply);
    HOLDS(badge == 77 && seL4_MessageInfo_get_label(info) == 5 && seL4_MessageInfo_get_length(info) == 6);
    for (int n = 0; n < 6; n++) {
        HOLDS(seL4_GetMR(n) == (seL4_Word)100 + (seL4_Word)n);
    }
    seL4_SetMR(0, 200);
    seL4_SetMR(4, 204);
    badge = 0;
    info = seL4_ReplyRecv(endpoint, seL4_MessageInfo_new(8, 0, 0, 5), &badge, reply);
    HOLDS(badge == 77 && seL4_MessageInfo_get_label(info) == 6 && seL4_GetMR(0) == 3);
    seL4_SetMR(0, 4);
    seL4_Send(reply, seL4_MessageInfo_new(0, 0, 0, 1));
    return 0;
}

static int signals(void)
{
    seL4_Word badge = 1;
    (void)seL4_Wait(notification, &badge);
    HOLDS(badge == 0);
    badge = 1;
    (void)seL4_Poll(notification, &badge);
    HOLDS(badge == 0);
    HOLDS(second_saw[0] == (5 << 8 | 8) && second_saw[1] == 200 && second_saw[2] == 204 && second_saw[3] == 4);
    return 0;
}

static int unknown_syscall(void)
{
    seL4_Word badge = 0;
    seL4_MessageInfo_t info = seL4_Recv(endpoint, &badge, reply);
    HOLDS(badge == 77 && seL4_MessageInfo_get_label(info) == seL4_Fault_UnknownSyscall);
    HOLDS(seL4_MessageInfo_get_length(info) == seL4_UnknownSyscall_Length);
    seL4_Fault_t fault = seL4_getFault(info);
    HOLDS(seL4_Fault_get_seL4_FaultType(fault) == seL4_Fault_UnknownSyscall);
    HOLDS(seL4_Fault_UnknownSyscall_get_RAX(fault) == 0x1234);
    HOLDS(seL4_Fault_UnknownSyscall_get_Syscall(fault) == (seL4_Word)-1000);
    HOLDS(seL4_Fault_UnknownSyscall_get_FaultIP(fault) == (seL4_Word)odd_syscall_instruction);
    seL4_SetMR(seL4_UnknownSyscall_FaultIP, seL4_GetMR(seL4_UnknownSyscall_FaultIP) + 2);
    seL4_Send(reply, seL4_MessageInfo_new(0, 0, 0, seL4_UnknownSyscall_Length));
    return 0;
}

static int user_exception(void)
{
    seL4_MessageInfo_t info = seL4_Recv(endpoint, seL4_Null, reply);
    HOLDS(seL4_isUserException_tag(info));
    seL4_Fault_t fault = seL4_getFault(info);
    HOLDS(seL4_Fault_UserException_get_FaultIP(fault) == (seL4_Word)undefined_instruction);
    HOLDS(seL4_Fault_UserException_get_Number(fault) == 6);
    seL4_SetMR(seL4_UserException_FaultIP, seL4_GetMR(seL4_UserException_FaultIP) + 2);
    seL4_Send(reply, seL4_MessageInfo_new(0, 0, 0, 3));
    return 0;
}

static int vm_fault(void)
{
    seL4_MessageInfo_t info = seL4_Recv(endpoint, seL4_Null, reply);
    HOLDS(seL4_isVMFault_tag(info) && seL4_MessageInfo_get_length(info) == seL4_VMFault_Length);
    seL4_Fault_t fault = seL4_getFault(info);
    HOLDS(seL4_Fault_VMFault_get_IP(fault) == (seL4_Word)read_word_instruction);
    HOLDS(seL4_Fault_VMFault_get_Addr(fault) == (seL4_Word)NOWHERE);
    HOLDS(seL4_Fault_VMFault_get_PrefetchFault(fault) == 0);
    /* A read from user mode of what is not there. */
    HOLDS(seL4_Fault_VMFault_get_FSR(fault) == 4);
    seL4_UserContext regs;
    HOLDS(seL4_TCB_ReadRegisters(tcb, 1, 0, sizeof regs / sizeof(seL4_Word), &regs) == seL4_NoError);
    HOLDS(regs.rip == (seL4_Word)read_word_instruction && regs.rdi == (seL4_Word)NOWHERE);
    return 0;
}

static int clean_up(void)
{
    seL4_TCB_SetFlags_t flags = seL4_TCB_SetFlags(tcb, 0, seL4_TCBFlag_fpuDisabled);
    HOLDS(flags.error == seL4_NoError && flags.flags == seL4_TCBFlag_fpuDisabled);
    seL4_SchedContext_Consumed_t used = seL4_SchedContext_Consumed(context);
    HOLDS(used.error == seL4_NoError);
    HOLDS(seL4_CNode_Revoke(ROOT, memory, DEPTH) == seL4_NoError);
    HOLDS(seL4_DebugCapIdentify(tcb) == 0 && seL4_DebugCapIdentify(badged) == 0);
    return 0;
}

/* QEMU's exit port; a machine without it goes on. */
static void end(void)
{
    seL4_CPtr port = next_slot++;
    (void)seL4_X86_IOPortControl_Issue(seL4_CapIOPortControl, 0xf4, 0xf4, ROOT, port, DEPTH);
    (void)seL4_X86_IOPort_Out8(port, 0xf4, failures);
    (void)seL4_TCB_Suspend(seL4_CapInitThreadTCB);
}

void c_main(seL4_BootInfo *info)
{
    seL4_SetTLSBase(thread_pointer(&main_tls));
    seL4_InitBootInfo(info);
    boot = seL4_GetBootInfo();
    seL4_SetIPCBuffer(boot->ipcBuffer);
    next_slot = boot->empty.start;
    seL4_DebugPutString("c-root starts\n");
    report("boot-information", boot_information());
    report("initial-capabilities", initial_capabilities());
    report("untyped-list", untyped_list());
    report("extra-chunks", extra_chunks());
    report("objects", objects());
    report("error-replies", error_replies());
    report("mapping", mapping());
    report("start-thread", start_thread());
    report("calls", calls());
    report("signals", signals());
    report("unknown-syscall", unknown_syscall());
    report("user-exception", user_exception());
    report("vm-fault", vm_fault());
    report("clean-up", clean_up());
    end();
}
