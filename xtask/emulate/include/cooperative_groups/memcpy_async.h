// Copies by a group: those of cuda/barrier.
#pragma once
#include "../cooperative_groups.h"
