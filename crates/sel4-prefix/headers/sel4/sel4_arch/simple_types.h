/* Which C type has how many bits. */

#pragma once

#define SEL4_WORD_IS_UINT64
#define SEL4_INT64_IS_LONG
