/* Assertions; whoever uses them defines __assert_fail. */

#pragma once

#include <sel4/config.h>
#include <sel4/macros.h>

void __assert_fail(const char *text, const char *file, int line, const char *function);

#define seL4_Fail(text) __assert_fail(text, __FILE__, __LINE__, __func__)
#define seL4_Assert(expression) ((expression) ? (void)0 : seL4_Fail(#expression))
#define seL4_CompileTimeAssert(expression) SEL4_COMPILE_ASSERT(compile_time_assert, expression)
