// SPDX-License-Identifier: Apache-2.0
// The checksum of spilled objects, XXH3 (64 bits), of bytes that come in parts; by the fastest code that this
// CPU runs.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "objstore/spill/checksum_code.h"

namespace rmpi::objstore::spill {

class Checksum {
 public:
  Checksum();
  void Add(std::span<const std::byte> bytes) { code_.add(state_.data(), bytes.data(), bytes.size()); }
  uint64_t Value() const { return code_.value(state_.data()); }

 private:
  const ChecksumCode& code_;
  alignas(kChecksumStateAlignment) std::array<std::byte, kChecksumStateBytes> state_;
};

uint64_t ChecksumOf(std::span<const std::byte> bytes);

}  // namespace rmpi::objstore::spill
