/* The instruction. */

#pragma once

#include <sel4/sel4_arch/syscalls_syscall.h>
