/* Nothing x86_64 has alone. */

#pragma once
