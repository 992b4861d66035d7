/* Numbers that do not depend on the processor. */

#pragma once

#include <sel4/config.h>
#include <sel4/macros.h>

#ifndef __ASSEMBLER__
#include <sel4/simple_types.h>

enum priorityConstants {
    seL4_InvalidPrio = -1,
    seL4_MinPrio = 0,
    seL4_MaxPrio = {{MAX_PRIORITY}}
};

enum seL4_MsgLimits {
    seL4_MsgLengthBits = 7,
    seL4_MsgExtraCapBits = 2,
    seL4_MsgMaxLength = {{MSG_MAX_LENGTH}}
};

typedef enum {
    seL4_NoFailure = 0,
    seL4_InvalidRoot = {{INVALID_ROOT}},
    seL4_MissingCapability = {{MISSING_CAPABILITY}},
    seL4_DepthMismatch = {{DEPTH_MISMATCH}},
    seL4_GuardMismatch = {{GUARD_MISMATCH}},
    SEL4_FORCE_LONG_ENUM(seL4_LookupFailureType)
} seL4_LookupFailureType;

typedef enum {
    seL4_TCBFlag_NoFlag = 0,
    seL4_TCBFlag_fpuDisabled = 1,
    seL4_TCBFlag_MASK = 1,
    SEL4_FORCE_LONG_ENUM(seL4_TCBFlag)
} seL4_TCBFlag;

typedef enum {
    seL4_SchedContext_NoFlag = 0,
    seL4_SchedContext_Sporadic = 1,
    SEL4_FORCE_LONG_ENUM(seL4_SchedContextFlag)
} seL4_SchedContextFlag;
#endif

#define seL4_MsgMaxExtraCaps {{MSG_MAX_EXTRA_CAPS}}
#define seL4_CapRightsBits 4
#define seL4_GuardSizeBits 6
#define seL4_GuardBits 58
#define seL4_BadgeBits 64

#define seL4_MinSchedContextBits {{MIN_SCHED_CONTEXT_BITS}}
/* A scheduling context without refills beyond the two that all have, and each further one. */
#define seL4_CoreSchedContextBytes 128
#define seL4_RefillSizeBytes 16

#ifndef __ASSEMBLER__
/* How many refills beyond the first two a scheduling context of 2^size bytes holds. */
static inline seL4_Word seL4_MaxExtraRefills(seL4_Word size)
{
    return (LIBSEL4_BIT(size) - seL4_CoreSchedContextBytes) / seL4_RefillSizeBytes;
}
#endif
