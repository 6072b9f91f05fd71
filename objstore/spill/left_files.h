// SPDX-License-Identifier: Apache-2.0
// LeftFiles: the spill files that dead nodes have left in folders which all nodes see, and reading objects
// back from them. Pure logic but for the Host that it acts through; owned by the raylet's control thread.
//
// Nobody writes to such a file any more, so any number of nodes may read it, each for itself, and nobody has
// to be asked. The indices of a node's files are read once, when the first object of it is wanted. What they
// list may have been freed: whether an object is wanted is its owner's business, and files go with the run.
//
// Invariants: each Restore ends in one Restored. Nothing is given out whose checksum is not that of its
// record.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "objstore/spill/spill_file.h"
#include "objstore/spill/spill_manager.h"
#include "runtime/base/status.h"

namespace rmpi::objstore::spill {

// A file of a dead node, and what its index lists.
struct LeftFile {
  std::shared_ptr<const SpillFile> file;
  std::vector<Listed> objects;
};

class LeftFiles {
 public:
  class Host {
   public:
    virtual ~Host() = default;
    // All files of that node in these folders; ends in OnListed.
    virtual void ListLeft(uint32_t node, const std::vector<std::string>& folders) = 0;
    // Ends in OnLeftRead with the same request.
    virtual void ReadLeft(const std::shared_ptr<const SpillFile>& file, const ReadJob& job) = 0;
    virtual void Restored(uint64_t request, const Status& status) = 0;
  };
  explicit LeftFiles(Host* host) : host_(host) {}

  void OnNodeDead(uint32_t node, const std::vector<std::string>& folders);
  // That node is dead, and what it wrote to disk may be read.
  bool Has(uint32_t node) const { return nodes_.contains(node); }
  // REQUIRES: Has(node).
  void Restore(uint32_t node, const RestoreItem& item, uint64_t size);
  void OnListed(uint32_t node, const std::vector<LeftFile>& files);
  void OnLeftRead(uint64_t request, const Status& status);

 private:
  struct Place {
    std::shared_ptr<const SpillFile> file;
    uint64_t offset = 0;
    uint64_t size = 0;
    uint64_t checksum = 0;
  };
  struct Wanted {
    RestoreItem item;
    uint64_t size = 0;
    std::vector<Place> places;  // still to be tried; what was moved from file to file has several
    std::string why;            // the last one was in vain
  };
  struct Node {
    std::vector<std::string> folders;
    bool asked = false, listed = false;
    std::unordered_multimap<Version, Place, VersionHash> index;
    std::vector<Wanted> waiting;  // for the index
  };

  void Find(uint32_t number, const Node& node, Wanted wanted);
  void TryNext(Wanted wanted);

  Host* const host_;
  std::unordered_map<uint32_t, Node> nodes_;
  std::unordered_map<uint64_t, Wanted> reading_;  // by request
};

}  // namespace rmpi::objstore::spill
