/* Nothing depends on the width of a word. */

#pragma once
