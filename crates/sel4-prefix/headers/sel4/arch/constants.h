/* Numbers of x86's interrupts. */

#pragma once

#include <sel4/config.h>

#define IRQ_OFFSET 0x30
#define VECTOR_MIN 0
#define VECTOR_MAX 109
#define MSI_MIN 0
#define MSI_MAX 109
