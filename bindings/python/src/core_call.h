// SPDX-License-Identifier: Apache-2.0
// Calls of the core that may wait for other processes, and bytes on their way to it and back.
#pragma once

#include "bindings/python/src/session.h"

namespace rmpi::python {

inline Bytes AsBytes(const nb::bytes& b) { return {static_cast<const std::byte*>(b.data()), b.size()}; }
inline nb::bytes FromBlob(const Blob& blob) {
  return nb::bytes(reinterpret_cast<const char*>(blob.data()), blob.size());
}

// Runs `body` without the GIL; what a signal interrupts is tried again once Python's handlers have run.
template <typename Body>
Status Unlocked(Body&& body) {
  for (;;) {
    Status status;
    {
      const InCore in_core;
      GilRelease release;
      status = body();
    }
    if (status.code() != StatusCode::kInterrupted) return status;
    Check(PyErr_CheckSignals() == 0);
  }
}

}  // namespace rmpi::python
