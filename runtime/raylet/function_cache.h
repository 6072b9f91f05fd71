// SPDX-License-Identifier: Apache-2.0
// FunctionCache: what this node's workers have imported from the head (functions, a job's settings), so that
// many workers that start together cost the head one answer. Keys are written once and never changed: what is
// here stays true, and is dropped, least recently used first, only to keep within a bound. Pure logic, of the
// control thread.
#pragma once

#include <list>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/core/outbox.h"

namespace rmpi {

class FunctionCache {
 public:
  explicit FunctionCache(Outbox* outbox, size_t most_bytes = size_t{64} << 20)
      : outbox_(outbox), most_bytes_(most_bytes) {}

  // A client of this node wants the value of a key, as soon as there is one. One KvReply each.
  void OnRequest(const Address& from, const KvRequest& m);
  // The head's answer to a question of ours.
  void OnReply(const KvReply& m);
  void OnClientGone(const Address& who);

  size_t bytes() const { return bytes_; }
  size_t asked() const { return asked_.size(); }

 private:
  struct Known {
    std::string key;
    Blob value;
  };
  struct Waiter {
    Address who;
    uint64_t nonce;
  };
  struct Asked {  // of the head, and not yet answered
    std::string key;
    std::vector<Waiter> waiters;
  };

  void Answer(const Waiter& waiter, const Blob& value);
  void Keep(std::string key, Blob value);

  Outbox* outbox_;
  size_t most_bytes_;
  size_t bytes_ = 0;
  uint64_t next_nonce_ = 1;
  std::list<Known> known_;  // the last used one first
  std::unordered_map<std::string, std::list<Known>::iterator> by_key_;
  std::unordered_map<uint64_t, Asked> asked_;  // by nonce
  std::unordered_map<std::string, uint64_t> nonces_;
};

}  // namespace rmpi
