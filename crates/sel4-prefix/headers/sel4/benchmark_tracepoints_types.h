/* Entries of the trace-point log, which this kernel does not keep (CONFIG_BENCHMARK_TRACEPOINTS is off). */

#pragma once

#include <sel4/config.h>
