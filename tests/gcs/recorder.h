// SPDX-License-Identifier: Apache-2.0
// An Outbox that keeps what was sent, and the way in: a message as it comes over the wire.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "runtime/base/time.h"
#include "runtime/core/outbox.h"

namespace rmpi {

class Recorder : public Outbox {
 public:
  struct Sent {
    Address to;
    MsgType type;
    Blob body;
  };
  void Post(const Address& to, MsgType type, Bytes body) override {
    sent.push_back({to, type, Blob::Copy(body)});
  }

  size_t Count(MsgType type) const {
    size_t n = 0;
    for (const Sent& s : sent) n += s.type == type;
    return n;
  }
  // The last message of that type; fails the test when there is none.
  template <class M>
  M Last(MsgType type, Address* to = nullptr) const {
    M m;
    for (auto it = sent.rbegin(); it != sent.rend(); ++it) {
      if (it->type != type) continue;
      Reader reader(it->body.bytes());
      reader(m);
      EXPECT_TRUE(reader.Done());
      if (to != nullptr) *to = it->to;
      return m;
    }
    ADD_FAILURE() << "no message of type " << static_cast<int>(type);
    return m;
  }

  std::vector<Sent> sent;
};

// What `receiver` (a Core, a Gcs, ..) makes of a message from `from` to `to`.
template <class Receiver, class M>
void Deliver(Receiver* receiver, const Address& from, const Address& to, MsgType type, const M& m,
             TimeNs now) {
  Writer body;
  body(m);
  MessageHeader header;
  header.type = static_cast<uint16_t>(type);
  header.body_bytes = static_cast<uint32_t>(body.size());
  header.src = from;
  header.dst = to;
  receiver->OnMessage(header, body.bytes(), now);
}

}  // namespace rmpi
