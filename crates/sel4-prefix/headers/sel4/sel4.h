/* The whole interface. */

#pragma once

#include <sel4/config.h>
#include <sel4/macros.h>
#include <sel4/types.h>
#include <sel4/bootinfo_types.h>
#include <sel4/bootinfo.h>
#include <sel4/constants.h>
#include <sel4/plat/api/constants.h>
#include <sel4/errors.h>
#include <sel4/functions.h>
#include <sel4/faults.h>
#include <sel4/syscalls.h>
#include <sel4/invocation.h>
#include <sel4/sel4_arch/invocation.h>
#include <sel4/arch/invocation.h>
#include <interfaces/sel4_client.h>
#include <sel4/virtual_client.h>
#include <sel4/deprecated.h>
