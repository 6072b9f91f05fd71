// SPDX-License-Identifier: Apache-2.0
// References: borrower <-> owner.
#pragma once

#include <cstdint>

#include "runtime/ids/ids.h"
#include "runtime/message/values.h"

namespace rmpi {

struct RefMessage {  // kRegister, kRegisterReply, kUnregister, kLocate, kCancelRequest
  ObjectId id;
  uint64_t nonce = 0;                     // kRegister: echoed in the reply
  bool gone = false;                      // kRegisterReply: the owner no longer has it
  bool force = false, recursive = false;  // kCancelRequest
  bool lineage = false;                   // kUnregister: its value is not needed, but may be again

  template <class C>
  void Fields(C& c) {
    c(id, nonce, gone, force, recursive, lineage);
  }
};

struct Location {  // owner -> asker
  ObjectId id;
  WireValue value;

  template <class C>
  void Fields(C& c) {
    c(id, value);
  }
};

}  // namespace rmpi
