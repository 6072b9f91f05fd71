// SPDX-License-Identifier: Apache-2.0
// The kernel as a library for Python: ctypes calls it without the GIL.
#include "bench/metg/kernel.h"

extern "C" double metg_kernel(uint64_t iterations) { return metg::Kernel(iterations); }
