// SPDX-License-Identifier: Apache-2.0
// Outbox: how a state machine says "send this". The loop behind it owns FIFO order per destination.
#pragma once

#include "runtime/message/codec.h"
#include "runtime/message/messages.h"

namespace rmpi {

class Outbox {
 public:
  virtual ~Outbox() = default;

  template <class M>
  void Send(const Address& to, MsgType type, const M& message) {
    scratch_.Clear();
    scratch_(message);
    Post(to, type, scratch_.bytes());
  }

  // `body` is valid during the call only.
  virtual void Post(const Address& to, MsgType type, Bytes body) = 0;

 private:
  Writer scratch_;
};

}  // namespace rmpi
