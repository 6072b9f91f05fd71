// SPDX-License-Identifier: Apache-2.0
// XXH3 as compiled for one kind of CPU. What includes this is compiled with options of its own: nothing here,
// or in those files, may be inline and shared with the rest of the program.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace rmpi::objstore::spill {

constexpr size_t kChecksumStateBytes = 576;
constexpr size_t kChecksumStateAlignment = 64;

struct ChecksumCode {
  void (*reset)(void* state);
  void (*add)(void* state, const void* bytes, size_t size);
  uint64_t (*value)(const void* state);
};
extern const ChecksumCode kPlainChecksum;
extern const ChecksumCode kAvx2Checksum;  // only on x86-64

}  // namespace rmpi::objstore::spill
