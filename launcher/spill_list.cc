// SPDX-License-Identifier: Apache-2.0
#include "launcher/spill_list.h"

#include <fmt/format.h>
#include <unistd.h>

#include <memory>

#include "launcher/terminal.h"
#include "objstore/spill/spill_file.h"

namespace rmpi::launcher {
namespace {

namespace spill = objstore::spill;

void PrintTable(const spill::SpillFile& file, const spill::Index& index) {
  const spill::Header& h = file.header();
  uint64_t bytes = 0;
  for (const spill::Listed& o : index.objects) bytes += o.size;
  fmt::print("{}{}{}\n{} objects, {} of {}; file {} of node {} in run {:016x}\n", kBold, file.path(), kPlain,
             index.objects.size(), Size(bytes), Size(h.data_bytes), h.number, h.node, h.run);
  fmt::print("{}{:<56}  {:>7}  {:>14}  {:>10}  {}{}\n", kDim, "object", "attempt", "offset", "size",
             "checksum", kPlain);
  for (const spill::Listed& o : index.objects) {
    fmt::print("{:<56}  {:>7}  {:>14}  {:>10}  {:016x}\n", Hex(o.id), o.attempt, o.offset, Size(o.size),
               o.checksum);
  }
}

void PrintLines(const spill::SpillFile& file, const spill::Index& index) {
  for (const spill::Listed& o : index.objects) {
    fmt::print("{}\t{}\t{}\t{}\t{}\t{:016x}\n", file.path(), Hex(o.id), o.attempt, o.offset, o.size,
               o.checksum);
  }
}

}  // namespace

int ListSpillFiles(const std::vector<std::string>& paths) {
  int status = 0;
  const bool terminal = isatty(STDOUT_FILENO) == 1;
  for (const std::string& path : paths) {
    std::unique_ptr<spill::SpillFile> file;
    spill::Index index;
    Status s = spill::SpillFile::Open(path, &file);
    if (s.ok()) s = file->ReadIndex(&index);
    if (file) (terminal ? PrintTable : PrintLines)(*file, index);
    if (s.ok() && index.torn != 0) {
      s = Status::Corrupt(fmt::format("{}: {} of its records are damaged, and left out", path, index.torn));
    }
    if (s.ok()) continue;
    fmt::print(stderr, "ray-mpi: {}\n", s.message());
    status = 1;
  }
  return status;
}

}  // namespace rmpi::launcher
