/* What the other headers are written with. */

#pragma once

#include <sel4/config.h>

#ifdef __ASSEMBLER__
#define SEL4_WORD_CONST(x) x
#define LIBSEL4_BIT(n) (1 << (n))
#else
#define SEL4_WORD_CONST(x) x##ul
#define LIBSEL4_BIT(n) (1ul << (n))
#endif

#ifndef CONST
#define CONST __attribute__((__const__))
#endif

#ifndef PURE
#define PURE __attribute__((__pure__))
#endif

#define SEL4_PACKED __attribute__((packed))
#define SEL4_DEPRECATED(x) __attribute__((deprecated(x)))
#define SEL4_DEPRECATE_MACRO(x) _Pragma("deprecated") x

#define LIBSEL4_UNUSED __attribute__((unused))
#define LIBSEL4_WEAK __attribute__((weak))
#define LIBSEL4_NOINLINE __attribute__((noinline))
#define LIBSEL4_INLINE static inline LIBSEL4_UNUSED
#define LIBSEL4_INLINE_FUNC static inline LIBSEL4_UNUSED

#define SEL4_OFFSETOF(type, member) __builtin_offsetof(type, member)

/* Makes an enumeration as wide as a word. */
#define SEL4_FORCE_LONG_ENUM(type) \
    _enum_pad_##type = ((1ull << ((sizeof(long) * 8) - 1)) - 1)

#ifdef __cplusplus
#define SEL4_COMPILE_ASSERT(name, expression) \
    static_assert((expression), #name ": " #expression);
#else
#define SEL4_COMPILE_ASSERT(name, expression) \
    _Static_assert((expression), #name ": " #expression);
#endif

#define SEL4_SIZE_SANITY(entry, index, size) \
    SEL4_COMPILE_ASSERT(entry##index##size, (entry) + (index) == (size))
