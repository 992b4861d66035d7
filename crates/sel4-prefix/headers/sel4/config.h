/* The configuration. */

#pragma once

#include <autoconf.h>
