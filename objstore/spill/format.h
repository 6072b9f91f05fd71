// SPDX-License-Identifier: Apache-2.0
// The bytes of a spill file (docs/spill.md). It is an HDF5 file with two data sets, `index` and `data`, whose
// places in the file are fixed when it is made. From then on nothing but plain writes at these places
// happens, so a writer that is killed at any point leaves a file that HDF5 opens and whose valid records are
// whole.
//
// In front of HDF5's own bytes stands its user block, which HDF5 passes over: our header, so that the index
// can be read without HDF5. All numbers are little endian.
#pragma once

#include <array>
#include <cstdint>

namespace rmpi::objstore::spill {

constexpr std::array<char, 8> kMagic = {'R', 'M', 'P', 'I', 'S', 'P', 'L', '1'};
constexpr uint32_t kFormatVersion = 1;
constexpr uint64_t kUserBlockBytes = 1 << 20;  // HDF5 wants it no smaller than the alignment; it is sparse
constexpr uint64_t kDataAlignment = 1 << 20;   // of the data set in the file
constexpr uint64_t kGroupAlignment = 4096;     // of what one write begins with, in the data set
constexpr uint64_t kObjectAlignment = 64;      // of each object in the data set
constexpr uint32_t kMaxRecords = 1 << 22;
constexpr char kIndexName[] = "index";
constexpr char kDataName[] = "data";

struct Header {
  std::array<char, 8> magic = kMagic;
  uint32_t version = kFormatVersion;
  uint32_t node = 0;
  uint64_t run = 0;
  uint64_t number = 0;  // of the file, counted by its node
  uint64_t data_offset = 0;
  uint64_t data_bytes = 0;
  uint64_t index_offset = 0;
  uint32_t index_records = 0;
  uint32_t record_bytes = 0;
  uint64_t check = 0;  // XXH3 of all that is before it
};
static_assert(sizeof(Header) == 72 && sizeof(Header) <= kUserBlockBytes);

// One object. Written after its bytes; a record that is all zero was never written, one whose check is wrong
// was torn.
struct IndexRecord {
  std::array<char, 56> object{};  // its public id, hexadecimal
  uint32_t attempt = 0;
  uint32_t reserved = 0;
  uint64_t offset = 0;  // in the data set
  uint64_t size = 0;
  uint64_t checksum = 0;  // XXH3 of the object's bytes
  uint64_t sequence = 0;  // place of the record in the index, from 1
  uint64_t check = 0;     // XXH3 of all that is before it, seeded with the header's check
};
static_assert(sizeof(IndexRecord) == 104);

}  // namespace rmpi::objstore::spill
