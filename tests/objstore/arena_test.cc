// SPDX-License-Identifier: Apache-2.0
#include "objstore/arena.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <fstream>
#include <random>
#include <vector>

#include "objstore/numa_bind.h"

namespace rmpi::objstore {
namespace {

std::unique_ptr<Arena> Map(const UniqueFd& fd, uint32_t segment = 3) {
  std::unique_ptr<Arena> arena;
  const Status s = Arena::Map(fd.get(), segment, &arena);
  EXPECT_TRUE(s.ok()) << s.message();
  return arena;
}

TEST(ArenaTest, TwoMappingsShareTheirBytes) {
  UniqueFd fd;
  ASSERT_TRUE(Arena::CreateFd({1 << 20, false, ""}, &fd).ok());
  auto a = Map(fd), b = Map(fd);
  ASSERT_NE(a->data(0), b->data(0));
  std::strcpy(reinterpret_cast<char*>(a->data(4096)), "shared");
  EXPECT_STREQ(reinterpret_cast<char*>(b->data(4096)), "shared");
}

TEST(ArenaTest, SizeIsSealed) {
  UniqueFd fd;
  ASSERT_TRUE(Arena::CreateFd({1 << 20, false, ""}, &fd).ok());
  EXPECT_NE(ftruncate(fd.get(), 4096), 0);
  EXPECT_NE(ftruncate(fd.get(), 2 << 20), 0);
}

TEST(ArenaTest, RefusesForeignDescriptorsAndSillySizes) {
  std::unique_ptr<Arena> arena;
  UniqueFd unsealed(memfd_create("x", 0));
  ASSERT_EQ(ftruncate(unsealed.get(), 1 << 20), 0);
  EXPECT_EQ(Arena::Map(unsealed.get(), 0, &arena).code(), StatusCode::kInvalid);
  EXPECT_EQ(Arena::Map(-1, 0, &arena).code(), StatusCode::kIo);
  UniqueFd fd;
  EXPECT_EQ(Arena::CreateFd({100, false, ""}, &fd).code(), StatusCode::kInvalid);
  EXPECT_EQ(Arena::CreateFd({UINT64_MAX, false, ""}, &fd).code(), StatusCode::kInvalid);
}

TEST(ArenaTest, HugePagesOrNormalOnesWorkAlike) {
  UniqueFd fd;
  ASSERT_TRUE(Arena::CreateFd({3 << 20, true, ""}, &fd).ok());
  auto arena = Map(fd);
  EXPECT_GE(arena->size(), 3u << 20);
  std::memset(arena->data(0), 1, arena->size());  // SIGBUS here if huge pages were promised and are not there
}

TEST(ArenaTest, ContainsRejectsEveryGarbageLocator) {
  UniqueFd fd;
  ASSERT_TRUE(Arena::CreateFd({1 << 20, false, ""}, &fd).ok());
  auto arena = Map(fd, 3);
  const uint64_t n = arena->size();
  EXPECT_TRUE(arena->Contains({1, 3, 64, n - 64}));
  EXPECT_TRUE(arena->Contains({1, 3, n, 0}));
  const Locator garbage[] = {{1, 2, 64, 1},          {1, 3, 0, 1},
                             {1, 3, 65, 1},          {1, 3, 64, n - 63},
                             {1, 3, n, 1},           {1, 3, n + 64, 0},
                             {1, 3, 64, UINT64_MAX}, {1, 3, UINT64_MAX - 63, 128},
                             {1, 3, UINT64_MAX, 1},  {1, 3, 128, UINT64_MAX - 127}};
  for (const Locator& l : garbage) EXPECT_FALSE(arena->Contains(l)) << l.offset << " " << l.size;
  std::mt19937_64 random(5);
  for (int i = 0; i < 100'000; ++i) {
    const Locator l{1, 3, random() >> (random() % 64), random() >> (random() % 64)};
    if (!arena->Contains(l)) continue;
    const Range r = RangeOf(l);
    ASSERT_TRUE(arena->ContainsRange(r));
    ASSERT_LE(r.end(), n);
  }
}

TEST(ArenaTest, PopulateMapsThePagesAndNoOthers) {
  UniqueFd fd;
  ASSERT_TRUE(Arena::CreateFd({4 << 20, false, ""}, &fd).ok());
  auto arena = Map(fd);
  arena->Populate((64 << 10) + 5000, (256 << 10) - 5000 - 64);
  EXPECT_FALSE(arena->Populated((64 << 10) + 4095, 1));
  EXPECT_TRUE(arena->Populated((64 << 10) + 4096, (256 << 10) - 4096));
  EXPECT_FALSE(arena->Populated((64 << 10) + 4096, (256 << 10) - 4095));
  EXPECT_FALSE(arena->Populated(320 << 10, 1));
  std::vector<unsigned char> resident((4 << 20) / 4096);
  ASSERT_EQ(mincore(arena->data(0), 4 << 20, resident.data()), 0);
  size_t pages = 0;
  for (unsigned char r : resident) pages += r & 1;
  EXPECT_EQ(pages, (256u << 10) / 4096 - 1);
  arena->Populate(0, arena->size());
  EXPECT_TRUE(arena->Populated(0, arena->size()));
}

TEST(ArenaTest, IsLeftOutOfCoreDumps) {
  UniqueFd fd;
  ASSERT_TRUE(Arena::CreateFd({1 << 20, false, ""}, &fd).ok());
  auto arena = Map(fd);
  std::ifstream smaps("/proc/self/smaps");
  std::string line;
  bool ours = false, dont_dump = false;
  while (std::getline(smaps, line)) {
    if (line.find("ray-mpi-arena") != std::string::npos) ours = true;
    if (ours && line.starts_with("VmFlags:")) {
      dont_dump = line.find(" dd") != std::string::npos;
      break;
    }
  }
  EXPECT_TRUE(dont_dump) << line;
}

TEST(ArenaTest, BindsToANumaNodeOrSaysWhyNot) {
  UniqueFd fd;
  const Status s = Arena::CreateFd({1 << 20, false, "0"}, &fd);
  if (s.ok()) {
    auto arena = Map(fd);
    std::memset(arena->data(0), 1, arena->size());
  } else {
    EXPECT_NE(s.message().find("NUMA"), std::string::npos) << s.message();
  }
  EXPECT_EQ(Arena::CreateFd({1 << 20, false, "no such"}, &fd).code(), StatusCode::kInvalid);
  EXPECT_EQ(Arena::CreateFd({1 << 20, false, "4000"}, &fd).code(), StatusCode::kInvalid);
}

}  // namespace
}  // namespace rmpi::objstore
