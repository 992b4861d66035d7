/* Assertions of debug builds. */

#pragma once

#include <sel4/config.h>
#include <sel4/assert.h>

#ifdef NDEBUG
#define seL4_DebugAssert(expression) ((void)0)
#else
#define seL4_DebugAssert(expression) seL4_Assert(expression)
#endif
