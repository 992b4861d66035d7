/* Nothing x86 has alone. */

#pragma once
