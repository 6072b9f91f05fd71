// SPDX-License-Identifier: Apache-2.0
#include "objstore/spill/run_folders.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/spill/temporary_folder.h"

namespace rmpi::objstore::spill {
namespace {

namespace fs = std::filesystem;

// Two nodes and what both see: a run directory each, a folder each beside the other's.
class RunFoldersTest : public testing::Test {
 protected:
  static std::string Fill(const std::string& folder) {
    fs::create_directories(folder);
    std::ofstream(folder + "/1-1.h5") << "bytes";
    return folder;
  }
  void Join() {
    NoteFoldersOfOthers(head_.path(), {theirs_});
    LeaveFolders(node_.path(), SharedFolders({theirs_}, {ours_}), {ours_});
  }
  void EndHead() { EndFolders(head_.path(), {ours_}, false); }
  void EndNode() { EndFolders(node_.path(), {theirs_}, false); }

  TemporaryFolder disk_, head_, node_;
  const std::string ours_ = Fill(disk_.path() + "/ray-mpi-spill-0.head");
  const std::string theirs_ = Fill(disk_.path() + "/ray-mpi-spill-0.node");
};

TEST_F(RunFoldersTest, OnlyWhatTheHeadSeesIsShared) {
  EXPECT_TRUE(SharedFolders({theirs_}, {ours_}).empty()) << "it has not said so";
  MarkRun({ours_});
  EXPECT_EQ(SharedFolders({"/elsewhere/x", theirs_}, {ours_}), std::vector<std::string>{theirs_});
  EXPECT_TRUE(SharedFolders({theirs_}, {"/elsewhere/head"}).empty());
  EXPECT_TRUE(SharedFolders({theirs_}, {}).empty());
}

TEST_F(RunFoldersTest, ADeadNodesFilesStayUntilTheRunEnds) {
  MarkRun({ours_});
  Join();
  EndNode();
  EXPECT_TRUE(fs::exists(theirs_ + "/1-1.h5"));
  EndHead();
  EXPECT_EQ(disk_.files(), 0U);
}

TEST_F(RunFoldersTest, WhoeverEndsAfterTheHeadRemovesItsOwn) {
  MarkRun({ours_});
  Join();
  EndHead();
  Fill(theirs_);  // by a raylet that was not told yet
  EndNode();
  EXPECT_EQ(disk_.files(), 0U);
}

TEST_F(RunFoldersTest, WithTheRunsEndEachRemovesItsOwn) {
  MarkRun({ours_});
  Join();
  TakeBackFolders(node_.path());
  EndNode();
  EXPECT_FALSE(fs::exists(theirs_));
  EXPECT_TRUE(fs::exists(ours_));
  EndHead();
  EXPECT_EQ(disk_.files(), 0U);
}

TEST_F(RunFoldersTest, WhatOnlyOneNodeSeesGoesWithIt) {
  Join();  // no mark: the head is elsewhere
  EndNode();
  EXPECT_FALSE(fs::exists(theirs_));
}

TEST_F(RunFoldersTest, AnEmptyFolderIsNotLeft) {
  MarkRun({ours_});
  Join();
  fs::remove(theirs_ + "/1-1.h5");
  EndNode();
  EXPECT_FALSE(fs::exists(theirs_));
}

TEST_F(RunFoldersTest, KeptFilesStayAndTheMarkGoes) {
  MarkRun({ours_});
  Join();
  EndFolders(node_.path(), {theirs_}, true);
  EndFolders(head_.path(), {ours_}, true);
  EXPECT_TRUE(fs::exists(theirs_ + "/1-1.h5"));
  EXPECT_TRUE(fs::exists(ours_ + "/1-1.h5"));
  EXPECT_FALSE(fs::exists(ours_ + "/.run"));
}

TEST_F(RunFoldersTest, NothingIsRemovedThatIsNotARuns) {
  const std::string other = Fill(disk_.path() + "/data");
  NoteFoldersOfOthers(head_.path(), {other});
  EndFolders(head_.path(), {other}, false);
  EXPECT_TRUE(fs::exists(other + "/1-1.h5"));
}

}  // namespace
}  // namespace rmpi::objstore::spill
