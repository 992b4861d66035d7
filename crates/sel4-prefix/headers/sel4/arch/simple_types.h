/* See sel4/sel4_arch/simple_types.h. */

#pragma once
