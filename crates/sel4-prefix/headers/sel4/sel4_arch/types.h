/* A thread's registers. */

#pragma once

#include <sel4/config.h>
#include <sel4/simple_types.h>

typedef seL4_CPtr seL4_X64_PML4;

/* In message order. */
typedef struct seL4_UserContext_ {
{{context}}
} seL4_UserContext;

SEL4_COMPILE_ASSERT(user_context_size, sizeof(seL4_UserContext) == 8 * {{USER_CONTEXT_WORDS}})
