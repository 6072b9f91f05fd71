// SPDX-License-Identifier: Apache-2.0
#include "objstore/spill/checksum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace rmpi::objstore::spill {
namespace {

std::vector<std::byte> Random(size_t size) {
  std::mt19937 random(static_cast<uint32_t>(size));
  std::vector<std::byte> bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random());
  return bytes;
}

uint64_t By(const ChecksumCode& code, std::span<const std::byte> bytes, size_t part) {
  alignas(kChecksumStateAlignment) std::array<std::byte, kChecksumStateBytes> state;
  code.reset(state.data());
  for (size_t done = 0; done < bytes.size(); done += part) {
    code.add(state.data(), bytes.data() + done, std::min(part, bytes.size() - done));
  }
  return code.value(state.data());
}

TEST(Checksum, IsTheOneThatFilesHave) {
  EXPECT_EQ(ChecksumOf({}), 0x2d06800538d394c2U);  // as published
  const std::vector<std::byte> zeros(300);
  EXPECT_NE(ChecksumOf(zeros), ChecksumOf(std::span(zeros).first(299)));
}

TEST(Checksum, AllCodesAndAllPartsGiveTheSame) {
  for (const size_t size : {0, 1, 16, 17, 128, 240, 241, 1024, 4096, 100'001, 1 << 20}) {
    const std::vector<std::byte> bytes = Random(size);
    const uint64_t sum = ChecksumOf(bytes);
    for (const size_t part : {size_t{7}, size_t{256}, size_t{1} << 18}) {
      EXPECT_EQ(By(kPlainChecksum, bytes, part), sum) << size << " by " << part;
#if defined(__x86_64__)
      if (__builtin_cpu_supports("avx2")) {
        EXPECT_EQ(By(kAvx2Checksum, bytes, part), sum) << size << " by " << part;
      }
#endif
    }
  }
}

}  // namespace
}  // namespace rmpi::objstore::spill
