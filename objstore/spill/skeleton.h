// SPDX-License-Identifier: Apache-2.0
// Makes the HDF5 part of a spill file. HDF5 is linked into one plugin only, which is loaded with the first
// file that is spilled to: a run whose objects fit into memory never loads it. Calls are made one at a time.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/base/status.h"

namespace rmpi::objstore::spill {

struct SkeletonRequest {
  const char* path;
  uint64_t data_bytes;
  uint32_t index_records;
};
struct SkeletonReply {
  uint64_t data_offset, index_offset;  // from the file's beginning
  char error[256];                     // when it failed
};
// In the plugin. 0: made and closed; the file did not exist before.
using MakeSkeletonFunction = int (*)(const SkeletonRequest* request, SkeletonReply* reply);
constexpr char kMakeSkeletonSymbol[] = "rmpi_make_spill_skeleton";

class Skeletons {
 public:
  // The plugin's path; "" where it was not built.
  explicit Skeletons(std::string plugin_path) : path_(std::move(plugin_path)) {}
  // Any thread, one at a time.
  Status Make(const SkeletonRequest& request, SkeletonReply* reply);

 private:
  const std::string path_;
  MakeSkeletonFunction make_ = nullptr;
};

}  // namespace rmpi::objstore::spill
