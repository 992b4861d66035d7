/* Words of the utilisation counters, which this kernel does not have (CONFIG_BENCHMARK_TRACK_UTILISATION is off). */

#pragma once

#include <sel4/config.h>
