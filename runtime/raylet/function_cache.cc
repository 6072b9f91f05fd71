// SPDX-License-Identifier: Apache-2.0
#include "runtime/raylet/function_cache.h"

#include <algorithm>

namespace rmpi {

void FunctionCache::Answer(const Waiter& waiter, const Blob& value) {
  KvReply reply;
  reply.nonce = waiter.nonce;
  reply.found = true;
  reply.value = value;
  outbox_->Send(waiter.who, MsgType::kKvReply, reply);
}

void FunctionCache::OnRequest(const Address& from, const KvRequest& m) {
  const std::string key = m.ns + '\0' + m.key;
  if (const auto known = by_key_.find(key); known != by_key_.end()) {
    known_.splice(known_.begin(), known_, known->second);
    Answer({from, m.nonce}, known->second->value);
    return;
  }
  auto [it, fresh] = nonces_.try_emplace(key, next_nonce_);
  asked_[it->second].waiters.push_back({from, m.nonce});
  if (!fresh) return;
  asked_[it->second].key = key;
  KvRequest question;
  question.nonce = next_nonce_++;
  question.op = KvOp::kWaitGet;
  question.ns = m.ns;
  question.key = m.key;
  outbox_->Send(GcsAddress(), MsgType::kKvRequest, question);
}

void FunctionCache::OnReply(const KvReply& m) {
  const auto it = asked_.find(m.nonce);
  if (it == asked_.end()) return;
  Asked asked = std::move(it->second);
  asked_.erase(it);
  nonces_.erase(asked.key);
  for (const Waiter& w : asked.waiters) Answer(w, m.value);
  Keep(std::move(asked.key), m.value);
}

void FunctionCache::Keep(std::string key, Blob value) {
  if (value.size() > most_bytes_) return;
  bytes_ += value.size();
  known_.push_front({std::move(key), std::move(value)});
  by_key_[known_.front().key] = known_.begin();
  while (bytes_ > most_bytes_) {
    bytes_ -= known_.back().value.size();
    by_key_.erase(known_.back().key);
    known_.pop_back();
  }
}

void FunctionCache::OnClientGone(const Address& who) {
  for (auto& [nonce, asked] : asked_) {
    std::erase_if(asked.waiters, [&](const Waiter& w) { return w.who == who; });
  }
}

}  // namespace rmpi
