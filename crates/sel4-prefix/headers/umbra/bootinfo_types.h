/* A chunk of boot information that seL4 does not have. */

#pragma once

/* The kernel's command line: text without a zero at its end. */
#define UMBRA_BOOTINFO_HEADER_COMMAND_LINE {{EXTRA_COMMAND_LINE}}
