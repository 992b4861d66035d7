/* What an invocation answers. */

#pragma once

#include <sel4/config.h>

typedef enum {
    seL4_NoError = 0,
{{errors}}
    /* Must be the last. */
    seL4_NumErrors
} seL4_Error;
