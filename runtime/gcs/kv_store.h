// SPDX-License-Identifier: Apache-2.0
// Key/value by namespace, with readers that wait for a key to appear (a function that is still on its way).
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "runtime/core/outbox.h"

namespace rmpi {

class KvStore {
 public:
  explicit KvStore(Outbox* outbox) : outbox_(outbox) {}

  void OnRequest(const Address& from, const KvRequest& m);
  // Nothing, if there is nothing under `from`.
  void Copy(const std::string& ns, const std::string& from, const std::string& to);
  void Erase(const std::string& ns, const std::string& key);
  void OnEof(const Address& who);
  void OnNodeDead(uint32_t node);
  size_t bytes() const { return bytes_; }

 private:
  using Key = std::pair<std::string, std::string>;
  struct Waiter {
    Address who;
    uint64_t nonce;
  };

  template <class Gone>
  void DropWaiters(Gone&& gone);

  Outbox* outbox_;
  std::map<Key, Blob> values_;
  std::map<Key, std::vector<Waiter>> waiters_;
  size_t bytes_ = 0;
};

}  // namespace rmpi
