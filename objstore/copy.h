// SPDX-License-Identifier: Apache-2.0
// Copies into the arena as fast as the machine can. Any thread; call it without the core lock (and, in
// Python, without the GIL) for anything large.
#pragma once

#include <cstddef>
#include <cstdint>

#include "objstore/arena.h"

namespace rmpi::objstore {

// Like memcpy. From kStreamBytes on the stores bypass the cache (the widest vectors this CPU has); above
// kParallelBytes up to three helper threads, which end with the call, take part if this process may use that
// many CPUs. REQUIRES: the two do not overlap.
void CopyIn(std::byte* dst, const std::byte* src, size_t n);

// The same into data at `offset` of the arena, mapping its pages ahead of the stores where this process has
// not.
void CopyToArena(Arena* arena, uint64_t offset, const std::byte* src, size_t n);

constexpr size_t kStreamBytes = 1 << 20;
constexpr size_t kParallelBytes = 4 << 20;

}  // namespace rmpi::objstore
