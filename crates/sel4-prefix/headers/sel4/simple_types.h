/* Integers. */

#pragma once

#include <sel4/config.h>
#include <sel4/macros.h>
#include <sel4/arch/simple_types.h>
#include <sel4/sel4_arch/simple_types.h>

typedef signed char seL4_Int8;
typedef unsigned char seL4_Uint8;
typedef signed short seL4_Int16;
typedef unsigned short seL4_Uint16;
typedef signed int seL4_Int32;
typedef unsigned int seL4_Uint32;
typedef signed long seL4_Int64;
typedef unsigned long seL4_Uint64;

#define seL4_integer_size_assert(type, size) \
    SEL4_COMPILE_ASSERT(type##_has_##size##_bytes, sizeof(type) == (size))

seL4_integer_size_assert(seL4_Uint8, 1)
seL4_integer_size_assert(seL4_Uint16, 2)
seL4_integer_size_assert(seL4_Uint32, 4)
seL4_integer_size_assert(seL4_Uint64, 8)

typedef seL4_Int8 seL4_Bool;
#define seL4_True 1
#define seL4_False 0

#ifdef __cplusplus
#define seL4_Null 0L
#else
#define seL4_Null ((void *)0)
#endif

typedef seL4_Uint64 seL4_Word;
typedef seL4_Word seL4_CPtr;
/* What a word of the IPC buffer is. */
typedef seL4_Word seL4_Register;

/* For printf and its like. */
#define SEL4_PRId32 "d"
#define SEL4_PRIi32 "i"
#define SEL4_PRIu32 "u"
#define SEL4_PRIx32 "x"
#define SEL4_PRId64 "ld"
#define SEL4_PRIi64 "li"
#define SEL4_PRIu64 "lu"
#define SEL4_PRIx64 "lx"
#define SEL4_PRI_word SEL4_PRIu64
#define SEL4_PRId_word SEL4_PRId64
#define SEL4_PRIi_word SEL4_PRIi64
#define SEL4_PRIu_word SEL4_PRIu64
#define SEL4_PRIx_word SEL4_PRIx64
