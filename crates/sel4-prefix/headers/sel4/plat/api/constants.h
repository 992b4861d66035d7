/* Numbers of the PC. */

#pragma once

#include <sel4/config.h>
#include <sel4/arch/constants.h>
