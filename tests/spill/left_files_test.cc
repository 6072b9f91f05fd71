// SPDX-License-Identifier: Apache-2.0
#include "objstore/spill/left_files.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "tests/objstore/store_fixture.h"
#include "tests/spill/temporary_folder.h"

namespace rmpi::objstore::spill {
namespace {

constexpr uint64_t kSize = 100;

class LeftFilesTest : public testing::Test, public LeftFiles::Host {
 protected:
  void ListLeft(uint32_t node, const std::vector<std::string>& folders) override {
    asked_.emplace_back(node, folders);
  }
  void ReadLeft(const std::shared_ptr<const SpillFile>& file, const ReadJob& job) override {
    EXPECT_EQ(file, file_);
    reads_.push_back(job);
  }
  void Restored(uint64_t request, const Status& status) override { restored_[request] = status; }

  void SetUp() override {
    Skeletons skeletons(HDF5_PLUGIN);
    std::unique_ptr<SpillFile> made;
    const Status s = SpillFile::Create(folder_.path() + "/5-3.h5", {5, 1, 3, 1 << 20, 16}, &skeletons, &made);
    ASSERT_TRUE(s.ok()) << s.message();
    file_ = std::move(made);
    left_.OnNodeDead(5, {"a", "b"});
  }
  void Want(uint64_t request, uint64_t n, uint64_t size = kSize) {
    left_.Restore(5, {request, {MakeId(n), 0}, 4096 * request}, size);
  }
  LeftFile File(const std::vector<std::pair<uint64_t, uint64_t>>& objects) {  // number, offset
    LeftFile f{file_, {}};
    for (const auto& [n, offset] : objects) f.objects.push_back({MakeId(n), 0, offset, kSize, offset + 7, 1});
    return f;
  }

  TemporaryFolder folder_;
  std::shared_ptr<const SpillFile> file_;
  LeftFiles left_{this};
  std::vector<std::pair<uint32_t, std::vector<std::string>>> asked_;
  std::vector<ReadJob> reads_;
  std::map<uint64_t, Status> restored_;
};

TEST_F(LeftFilesTest, AnIndexIsReadOnceForAllWhoWant) {
  EXPECT_TRUE(left_.Has(5));
  EXPECT_FALSE(left_.Has(6));
  EXPECT_TRUE(asked_.empty()) << "not before somebody wants something";
  Want(1, 10);
  Want(2, 11);
  ASSERT_EQ(asked_.size(), 1U);
  EXPECT_EQ(asked_[0].second, (std::vector<std::string>{"a", "b"}));
  left_.OnListed(5, {File({{10, 0}, {11, 128}})});
  ASSERT_EQ(reads_.size(), 2U);
  EXPECT_EQ(reads_[1].offset, 128U);
  EXPECT_EQ(reads_[1].checksum, 135U);
  EXPECT_EQ(reads_[1].size, kSize);
  EXPECT_EQ(reads_[1].arena_offset, 8192U);
  left_.OnLeftRead(2, Status::Ok());
  EXPECT_TRUE(restored_.at(2).ok());
  EXPECT_FALSE(restored_.contains(1));
  Want(3, 10);
  EXPECT_EQ(asked_.size(), 1U);
  EXPECT_EQ(reads_.size(), 3U);
}

TEST_F(LeftFilesTest, WhatIsNotListedIsNotThere) {
  left_.OnNodeDead(6, {});
  EXPECT_FALSE(left_.Has(6)) << "its files were for itself";
  Want(1, 10);
  Want(2, 11);
  left_.OnListed(5, {File({{10, 0}})});
  EXPECT_EQ(restored_.at(2).code(), StatusCode::kNotFound);
  Want(3, 10, kSize + 1);
  EXPECT_EQ(restored_.at(3).code(), StatusCode::kNotFound) << "nothing is read that has another size";
  left_.Restore(5, {4, {MakeId(10), 1}, 0}, kSize);
  EXPECT_EQ(restored_.at(4).code(), StatusCode::kNotFound) << "nor another version";
  EXPECT_EQ(reads_.size(), 1U);
}

TEST_F(LeftFilesTest, OfSeveralPlacesEachIsTried) {
  Want(1, 10);
  left_.OnListed(5, {File({{10, 0}}), File({{10, 256}})});
  left_.OnLeftRead(1, Status::Corrupt("a flipped bit"));
  ASSERT_EQ(reads_.size(), 2U);
  EXPECT_NE(reads_[0].offset, reads_[1].offset);
  EXPECT_TRUE(restored_.empty());
  left_.OnLeftRead(1, Status::Corrupt("another"));
  EXPECT_EQ(restored_.at(1).message(), "another");
}

}  // namespace
}  // namespace rmpi::objstore::spill
