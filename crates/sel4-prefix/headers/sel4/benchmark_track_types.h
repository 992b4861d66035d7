/* Entries of the log of kernel entries, which this kernel does not keep (CONFIG_BENCHMARK_TRACK_KERNEL_ENTRIES is off). */

#pragma once

#include <sel4/config.h>
