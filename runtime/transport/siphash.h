// SPDX-License-Identifier: Apache-2.0
// SipHash-2-4: a keyed hash. Without the key nobody can make the hash of a new message, so that a message
// with one proves knowledge of the run's secret and does not show it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace rmpi {

uint64_t SipHash24(const std::array<uint8_t, 16>& key, const void* data, size_t size);

// Compares in a time that does not depend on the bytes.
bool SameBytes(const void* a, const void* b, size_t size);

}  // namespace rmpi
