// SPDX-License-Identifier: Apache-2.0
// SpillFile: one file of spilled objects. Whoever plans what lies where (spill_manager) hands out places that
// do not overlap, so any thread may write or read at any time; the file itself keeps no state but its
// descriptor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "objstore/spill/format.h"
#include "objstore/spill/skeleton.h"
#include "runtime/base/status.h"
#include "runtime/base/unique_fd.h"
#include "runtime/ids/ids.h"

namespace rmpi::objstore::spill {

// An object as it is written: its bytes, and its place in the data set.
struct Piece {
  ObjectId id;
  uint32_t attempt = 0;
  uint64_t offset = 0;  // a multiple of kObjectAlignment
  std::span<const std::byte> bytes;
  uint64_t checksum = 0;  // Write fills it in
};

// One valid record of an index.
struct Listed {
  ObjectId id;
  uint32_t attempt = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
  uint64_t checksum = 0;
  uint64_t sequence = 0;
};
struct Index {
  std::vector<Listed> objects;
  uint64_t torn = 0;  // records that were begun and are damaged
};

class SpillFile {
 public:
  struct Shape {
    uint32_t node = 0;
    uint64_t run = 0;
    uint64_t number = 0;
    uint64_t data_bytes = 0;
    uint32_t index_records = 0;
  };
  // Makes a new file, mode 0600. Nothing is left of one that could not be made.
  static Status Create(const std::string& path, const Shape& shape, Skeletons* skeletons,
                       std::unique_ptr<SpillFile>* out);
  // Opens one to read. Checks all that its header says against the file.
  static Status Open(const std::string& path, std::unique_ptr<SpillFile>* out);

  // Writes the pieces, which lie one behind the other in ascending order, then their records, from
  // `first_record` (counted from 0) on. kOutOfDisk: no space, or no quota.
  Status Write(std::span<Piece> pieces, uint32_t first_record);
  // Reads an object, and checks it: kCorrupt when its bytes are not those that were written.
  Status Read(uint64_t offset, uint64_t checksum, std::span<std::byte> to) const;
  // Returns when what was written survives this host. An error: it may not, and is not to be relied on.
  Status Sync();
  // All that can be told from the file alone.
  Status ReadIndex(Index* out) const;

  const Header& header() const { return header_; }
  const std::string& path() const { return path_; }

 private:
  SpillFile(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  Status WriteAt(const void* bytes, size_t size, uint64_t at);
  Status WriteData(std::span<Piece> pieces);
  Status Failed(const char* what, int error) const;

  const std::string path_;
  const UniqueFd fd_;
  Header header_;
};

}  // namespace rmpi::objstore::spill
