/* System calls that x86 has alone. */

#pragma once

#include <sel4/sel4_arch/syscalls.h>
