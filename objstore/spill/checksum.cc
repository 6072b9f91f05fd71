// SPDX-License-Identifier: Apache-2.0
#include "objstore/spill/checksum.h"

namespace rmpi::objstore::spill {
namespace {

const ChecksumCode& Fastest() {
#if defined(__x86_64__)
  static const bool avx2 = __builtin_cpu_supports("avx2") != 0;
  if (avx2) return kAvx2Checksum;
#endif
  return kPlainChecksum;
}

}  // namespace

Checksum::Checksum() : code_(Fastest()) { code_.reset(state_.data()); }

uint64_t ChecksumOf(std::span<const std::byte> bytes) {
  Checksum sum;
  sum.Add(bytes);
  return sum.Value();
}

}  // namespace rmpi::objstore::spill
