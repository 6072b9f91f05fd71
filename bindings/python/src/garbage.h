// SPDX-License-Identifier: Apache-2.0
// Garbage: runs Python's collector when others wait for room in the object store: refs and arrays that only
// cycles of dead objects still hold keep it full. In a thread of its own, since whoever is told holds the
// core's lock and waits for nobody. That thread is made when it is first asked, and spends at most a
// twentieth of its time.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "runtime/base/time.h"

namespace rmpi::python {

class Garbage {
 public:
  void Ask();   // any thread; returns at once
  void Stop();  // REQUIRES: nobody asks any more, and the GIL is not held

 private:
  void Run();
  static TimeNs Collect();  // how long it took

  std::mutex mutex_;
  std::condition_variable changed_;
  bool asked_ = false, stopping_ = false;
  std::thread thread_;
};

}  // namespace rmpi::python
