// SPDX-License-Identifier: Apache-2.0
#include "runtime/gcs/kv_store.h"

namespace rmpi {

void KvStore::OnRequest(const Address& from, const KvRequest& m) {
  const Key key{m.ns, m.key};
  KvReply reply;
  reply.nonce = m.nonce;
  const auto it = values_.find(key);
  switch (m.op) {
    case KvOp::kPut: {
      reply.found = it == values_.end();
      if (it != values_.end() && !m.overwrite) break;
      if (it != values_.end()) bytes_ -= it->second.size();
      bytes_ += m.value.size();
      values_[key] = m.value;
      const auto w = waiters_.find(key);
      if (w == waiters_.end()) break;
      for (const Waiter& waiter : w->second) {
        KvReply answer;
        answer.nonce = waiter.nonce;
        answer.found = true;
        answer.value = m.value;
        outbox_->Send(waiter.who, MsgType::kKvReply, answer);
      }
      waiters_.erase(w);
      break;
    }
    case KvOp::kWaitGet:
      if (it == values_.end()) {
        waiters_[key].push_back({from, m.nonce});
        return;
      }
      [[fallthrough]];
    case KvOp::kGet:
      reply.found = it != values_.end();
      if (reply.found) reply.value = it->second;
      break;
    case KvOp::kDelete:
      reply.found = it != values_.end();
      Erase(m.ns, m.key);
      break;
    case KvOp::kKeys:
      for (auto i = values_.lower_bound(key); i != values_.end() && i->first.first == m.ns; ++i) {
        if (i->first.second.compare(0, m.key.size(), m.key) != 0) break;
        reply.keys.push_back(i->first.second);
      }
      break;
  }
  if (m.nonce != 0) outbox_->Send(from, MsgType::kKvReply, reply);
}

void KvStore::Copy(const std::string& ns, const std::string& from, const std::string& to) {
  const auto it = values_.find({ns, from});
  if (it == values_.end()) return;
  KvRequest put;
  put.op = KvOp::kPut;
  put.ns = ns;
  put.key = to;
  put.value = it->second;
  OnRequest({}, put);
}

void KvStore::Erase(const std::string& ns, const std::string& key) {
  const auto it = values_.find({ns, key});
  if (it == values_.end()) return;
  bytes_ -= it->second.size();
  values_.erase(it);
}

template <class Gone>
void KvStore::DropWaiters(Gone&& gone) {
  for (auto& [key, waiters] : waiters_) {
    std::erase_if(waiters, [&](const Waiter& w) { return gone(w.who); });
  }
  std::erase_if(waiters_, [](const auto& w) { return w.second.empty(); });
}

void KvStore::OnEof(const Address& who) {
  DropWaiters([&](const Address& a) { return a == who; });
}

void KvStore::OnNodeDead(uint32_t node) {
  DropWaiters([&](const Address& a) { return a.node == node; });
}

}  // namespace rmpi
