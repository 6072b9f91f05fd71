// SPDX-License-Identifier: Apache-2.0
#include "objstore/spill/spill_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <list>
#include <random>

#include "objstore/locator.h"
#include "tests/objstore/store_fixture.h"
#include "tests/spill/temporary_folder.h"

namespace rmpi::objstore::spill {
namespace {

using testing::HasSubstr;

std::vector<std::byte> Pattern(uint64_t n, size_t size) {
  std::vector<std::byte> bytes(size);
  std::mt19937_64 random(n);
  for (size_t i = 0; i < size; i += 8) {
    const uint64_t word = random();
    std::memcpy(bytes.data() + i, &word, std::min<size_t>(8, size - i));
  }
  return bytes;
}

class SpillFileTest : public testing::Test {
 protected:
  std::unique_ptr<SpillFile> Make(uint64_t data_bytes = 8 << 20, uint32_t records = 64) {
    std::unique_ptr<SpillFile> file;
    const Status s = SpillFile::Create(path_, {7, 99, 1, data_bytes, records}, &skeletons_, &file);
    EXPECT_TRUE(s.ok()) << s.message();
    return file;
  }
  // Objects of these sizes, one behind the other.
  std::vector<Piece> Pieces(const std::vector<size_t>& sizes, uint64_t from = 0) {
    std::vector<Piece> pieces;
    for (const size_t size : sizes) {
      data_.push_back(Pattern(data_.size(), size));
      Piece p;
      p.id = MakeId(data_.size());
      p.attempt = 2;
      p.offset = from;
      p.bytes = data_.back();
      pieces.push_back(p);
      from = RoundUp(from + size, kObjectAlignment);
    }
    return pieces;
  }
  std::unique_ptr<SpillFile> Reopen(Status* s) {
    std::unique_ptr<SpillFile> file;
    *s = SpillFile::Open(path_, &file);
    return file;
  }
  void Flip(uint64_t at, uint8_t bits = 1) {
    std::fstream f(path_, std::ios::in | std::ios::out | std::ios::binary);
    f.seekg(static_cast<std::streamoff>(at));
    const auto byte = static_cast<char>(f.get() ^ bits);
    f.seekp(static_cast<std::streamoff>(at));
    f.put(byte);
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_.path() + "/7-1.h5";
  Skeletons skeletons_{HDF5_PLUGIN};
  std::list<std::vector<std::byte>> data_;
};

TEST_F(SpillFileTest, WhatWasWrittenIsReadBack) {
  auto file = Make();
  std::vector<Piece> pieces = Pieces({0, 1, 100 << 10, 5 << 20, 64, 65});
  ASSERT_TRUE(file->Write(pieces, 0).ok());
  std::vector<Piece> more = Pieces({1000}, RoundUp(pieces.back().offset + 65, kGroupAlignment));
  ASSERT_TRUE(file->Write(more, 6).ok());
  pieces.push_back(more[0]);
  for (const Piece& p : pieces) {
    std::vector<std::byte> back(p.bytes.size());
    const Status s = file->Read(p.offset, p.checksum, back);
    EXPECT_TRUE(s.ok()) << s.message();
    EXPECT_TRUE(std::equal(back.begin(), back.end(), p.bytes.begin()));
  }
  Status s;
  auto again = Reopen(&s);
  ASSERT_TRUE(s.ok()) << s.message();
  Index index;
  ASSERT_TRUE(again->ReadIndex(&index).ok());
  ASSERT_EQ(index.objects.size(), pieces.size());
  EXPECT_EQ(index.torn, 0U);
  for (size_t i = 0; i < pieces.size(); ++i) {
    EXPECT_EQ(index.objects[i].id, pieces[i].id);
    EXPECT_EQ(index.objects[i].attempt, 2U);
    EXPECT_EQ(index.objects[i].offset, pieces[i].offset);
    EXPECT_EQ(index.objects[i].size, pieces[i].bytes.size());
    EXPECT_EQ(index.objects[i].checksum, pieces[i].checksum);
    EXPECT_EQ(index.objects[i].sequence, i + 1);
  }
  EXPECT_TRUE(file->Sync().ok());
}

TEST_F(SpillFileTest, IsPrivateAlignedAndSparse) {
  auto file = Make(64 << 20);
  struct stat info {};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  EXPECT_EQ(file->header().data_offset % kDataAlignment, 0U);
  EXPECT_LT(info.st_blocks * 512, 4 << 20) << "space is taken when objects come";
}

// What h5dump does: HDF5's own functions find the index by name, with field names, and the objects' bytes.
TEST_F(SpillFileTest, HDF5ReadsIndexAndData) {
  auto file = Make();
  std::vector<Piece> pieces = Pieces({300, 200 << 10});
  ASSERT_TRUE(file->Write(pieces, 0).ok());
  const hid_t f = H5Fopen(path_.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  ASSERT_GE(f, 0);
  const hid_t index = H5Dopen2(f, "/index", H5P_DEFAULT);
  struct Record {
    char object[57];
    uint64_t size, offset;
  };
  const hid_t type = H5Tcreate(H5T_COMPOUND, sizeof(Record));
  const hid_t text = H5Tcopy(H5T_C_S1);
  H5Tset_size(text, 57);
  H5Tinsert(type, "object", HOFFSET(Record, object), text);
  H5Tinsert(type, "size", HOFFSET(Record, size), H5T_NATIVE_UINT64);
  H5Tinsert(type, "offset", HOFFSET(Record, offset), H5T_NATIVE_UINT64);
  std::vector<Record> records(64);
  ASSERT_GE(H5Dread(index, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, records.data()), 0);
  EXPECT_EQ(records[1].object, Hex(pieces[1].id));
  EXPECT_EQ(records[1].size, 200U << 10);
  std::vector<std::byte> all(8 << 20);
  const hid_t data = H5Dopen2(f, "/data", H5P_DEFAULT);
  ASSERT_GE(H5Dread(data, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, all.data()), 0);
  EXPECT_EQ(std::memcmp(all.data() + records[1].offset, pieces[1].bytes.data(), pieces[1].bytes.size()), 0);
  for (const hid_t id : {data, index}) H5Dclose(id);
  for (const hid_t id : {type, text}) H5Tclose(id);
  H5Fclose(f);
}

TEST_F(SpillFileTest, AWriterKilledAtAnyTimeLeavesWholeRecords) {
  const int kObjects = 60;
  for (int round = 0; round < 8; ++round) {
    const pid_t writer = fork();
    if (writer == 0) {
      auto file = Make();
      for (int i = 0; i < kObjects; ++i) {
        std::vector<Piece> one = Pieces({100 << 10}, static_cast<uint64_t>(i) * (100 << 10));
        if (!file->Write(one, static_cast<uint32_t>(i)).ok()) _exit(1);
      }
      pause();
    }
    usleep(static_cast<useconds_t>(2000 + round * 3000));
    kill(writer, SIGKILL);
    int status = 0;
    waitpid(writer, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));
    Status s;
    auto file = Reopen(&s);
    if (s.ok()) {
      Index index;
      ASSERT_TRUE(file->ReadIndex(&index).ok());
      EXPECT_EQ(index.torn, 0U);
      for (const Listed& l : index.objects) {
        std::vector<std::byte> back(l.size);
        EXPECT_TRUE(file->Read(l.offset, l.checksum, back).ok());
      }
      const hid_t f = H5Fopen(path_.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
      EXPECT_GE(f, 0) << "HDF5 opens it as well";
      H5Fclose(f);
    }
    unlink(path_.c_str());
  }
}

TEST_F(SpillFileTest, FlippedBitsAreFound) {
  auto file = Make();
  std::vector<Piece> pieces = Pieces({100 << 10});
  ASSERT_TRUE(file->Write(pieces, 0).ok());
  Flip(file->header().data_offset + 777);
  std::vector<std::byte> back(pieces[0].bytes.size());
  const Status s = file->Read(pieces[0].offset, pieces[0].checksum, back);
  EXPECT_EQ(s.code(), StatusCode::kCorrupt);
  EXPECT_THAT(s.message(), HasSubstr(path_));
  Flip(file->header().index_offset + 3);
  Index index;
  ASSERT_TRUE(file->ReadIndex(&index).ok());
  EXPECT_EQ(index.objects.size(), 0U);
  EXPECT_EQ(index.torn, 1U);
}

TEST_F(SpillFileTest, TornTailsAreFound) {
  auto file = Make();
  std::vector<Piece> pieces = Pieces({100 << 10, 200 << 10});
  ASSERT_TRUE(file->Write(pieces, 0).ok());
  ASSERT_EQ(truncate(path_.c_str(), static_cast<off_t>(file->header().data_offset + (150 << 10))), 0);
  std::vector<std::byte> first(100 << 10), second(200 << 10);
  EXPECT_TRUE(file->Read(pieces[0].offset, pieces[0].checksum, first).ok());
  EXPECT_EQ(file->Read(pieces[1].offset, pieces[1].checksum, second).code(), StatusCode::kCorrupt);
  Status s;
  Reopen(&s);
  EXPECT_EQ(s.code(), StatusCode::kCorrupt) << s.message();
}

TEST_F(SpillFileTest, SaysWhatItCannotDo) {
  Status s;
  Reopen(&s);
  EXPECT_EQ(s.code(), StatusCode::kIo);
  std::ofstream(path_) << "something else";
  Reopen(&s);
  EXPECT_THAT(s.message(), HasSubstr("no spill file"));
  unlink(path_.c_str());
  Skeletons none("");
  std::unique_ptr<SpillFile> file;
  s = SpillFile::Create(path_, {7, 99, 1, 1 << 20, 8}, &none, &file);
  EXPECT_THAT(s.message(), HasSubstr("built without HDF5"));
  Skeletons missing("/nowhere/libray-mpi-hdf5.so");
  s = SpillFile::Create(path_, {7, 99, 1, 1 << 20, 8}, &missing, &file);
  EXPECT_THAT(s.message(), HasSubstr("/nowhere/libray-mpi-hdf5.so"));
  s = SpillFile::Create("/nowhere/7-1.h5", {7, 99, 1, 1 << 20, 8}, &skeletons_, &file);
  EXPECT_THAT(s.message(), HasSubstr("/nowhere/7-1.h5"));
  auto good = Make(1 << 20, 1);
  std::vector<Piece> pieces = Pieces({8, 8});
  EXPECT_EQ(good->Write(pieces, 0).code(), StatusCode::kInternal) << "one record";
}

TEST_F(SpillFileTest, NoSpaceIsAnErrorOfItsOwn) {
  auto file = Make(8 << 20);
  struct rlimit before {};
  getrlimit(RLIMIT_FSIZE, &before);
  const struct rlimit small { file->header().data_offset + (1 << 20), before.rlim_max };
  signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  std::vector<Piece> pieces = Pieces({2 << 20});
  const Status s = file->Write(pieces, 0);
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(s.code(), StatusCode::kOutOfDisk) << s.message();
  Index index;
  ASSERT_TRUE(file->ReadIndex(&index).ok());
  EXPECT_TRUE(index.objects.empty());
}

// Whatever is done to a file: no crash, no object that was not written, none with other bytes.
TEST_F(SpillFileTest, FuzzedFilesNeverLie) {
  constexpr int kRounds = 3000;
  auto file = Make(1 << 20, 32);
  std::vector<Piece> pieces = Pieces({100, 200 << 10, 0, 4096, 300 << 10});
  ASSERT_TRUE(file->Write(pieces, 0).ok());
  const Header header = file->header();
  const auto size = std::filesystem::file_size(path_);
  std::string whole(size, '\0');
  std::ifstream(path_, std::ios::binary).read(whole.data(), static_cast<std::streamsize>(size));
  std::mt19937_64 random(7);
  size_t opened = 0, listed = 0;
  const UniqueFd fd(::open(path_.c_str(), O_RDWR));
  for (int round = 0; round < kRounds; ++round) {
    std::vector<uint64_t> touched;
    for (uint64_t n = random() % 6; n > 0; --n) {
      // Most where it matters: header and index.
      uint64_t at = random() % size;
      if (random() % 4 != 0) at = random() % sizeof(Header);
      if (random() % 2 != 0) at = header.index_offset + random() % (8 * sizeof(IndexRecord));
      const auto byte = static_cast<char>(random());
      ASSERT_EQ(pwrite(fd.get(), &byte, 1, static_cast<off_t>(at)), 1);
      touched.push_back(at);
    }
    const bool cut = random() % 10 == 0;
    if (cut) {
      ASSERT_EQ(ftruncate(fd.get(), static_cast<off_t>(random() % size)), 0);
    }
    Status s;
    auto again = Reopen(&s);
    Index index;
    if (s.ok() && again->ReadIndex(&index).ok()) {
      ++opened;
      for (const Listed& l : index.objects) {
        const auto it =
            std::find_if(pieces.begin(), pieces.end(), [&](const Piece& p) { return p.id == l.id; });
        ASSERT_NE(it, pieces.end());
        ASSERT_EQ(l.size, it->bytes.size());
        std::vector<std::byte> back(l.size);
        if (!again->Read(l.offset, l.checksum, back).ok()) continue;
        ++listed;
        ASSERT_TRUE(std::equal(back.begin(), back.end(), it->bytes.begin()));
      }
    }
    if (cut) {
      ASSERT_EQ(pwrite(fd.get(), whole.data(), size, 0), static_cast<ssize_t>(size));
      touched.clear();
    }
    for (const uint64_t at : touched) ASSERT_EQ(pwrite(fd.get(), &whole[at], 1, static_cast<off_t>(at)), 1);
  }
  EXPECT_GT(opened, 100U);
  EXPECT_GT(listed, 300U);
}

}  // namespace
}  // namespace rmpi::objstore::spill
