// SPDX-License-Identifier: Apache-2.0
#include "objstore/copy.h"

#include <random>
#include <vector>

#include "tests/objstore/store_fixture.h"

namespace rmpi::objstore {
namespace {

std::vector<std::byte> RandomBytes(size_t n) {
  std::vector<std::byte> bytes(n);
  std::mt19937_64 random(n);
  for (size_t i = 0; i + 8 <= n; i += 8) {
    const uint64_t word = random();
    std::memcpy(&bytes[i], &word, 8);
  }
  return bytes;
}

TEST(CopyTest, CopiesExactlyTheBytesAtEverySizeAndAlignment) {
  const auto source = RandomBytes((9 << 20) + 512);
  std::vector<std::byte> target((9 << 20) + 1024);
  const size_t sizes[] = {0,
                          1,
                          63,
                          64,
                          4097,
                          kStreamBytes - 1,
                          kStreamBytes,
                          1234567,
                          (2 << 20) + 255,
                          (4 << 20),
                          (4 << 20) + 1,
                          (9 << 20) - 7};
  for (size_t n : sizes) {
    for (size_t to : {size_t{64}, size_t{65}, size_t{127}}) {
      for (size_t from : {size_t{0}, size_t{3}, size_t{64}}) {
        std::fill(target.begin(), target.end(), std::byte{0x5a});
        CopyIn(target.data() + to, source.data() + from, n);
        ASSERT_TRUE(n == 0 || std::memcmp(target.data() + to, source.data() + from, n) == 0) << n;
        for (size_t i = 0; i < 64; ++i) {
          ASSERT_EQ(target[to - 1 - i % to], std::byte{0x5a}) << "written before, n " << n;
          ASSERT_EQ(target[to + n + i], std::byte{0x5a}) << "written behind, n " << n;
        }
      }
    }
  }
}

TEST(CopyTest, IntoTheArenaMapsOnlyItsOwnRange) {
  auto arena = MakeArena(32 << 20);
  const auto source = RandomBytes(10 << 20);
  const uint64_t offset = (1 << 20) + 64;
  CopyToArena(arena.get(), offset, source.data(), source.size());
  EXPECT_EQ(std::memcmp(arena->data(offset), source.data(), source.size()), 0);
  EXPECT_TRUE(arena->Populated(2 << 20, 8 << 20));
  EXPECT_FALSE(arena->Populated(12 << 20, 1));
  CopyToArena(arena.get(), offset + 64, source.data(), source.size());  // warm now
  EXPECT_EQ(std::memcmp(arena->data(offset + 64), source.data(), source.size()), 0);
  CopyToArena(arena.get(), arena->size(), source.data(), 0);
}

}  // namespace
}  // namespace rmpi::objstore
