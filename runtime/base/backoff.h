// SPDX-License-Identifier: Apache-2.0
// Backoff: how long to wait before looking again for what nobody tells of: twice as long each time, until
// something happens. Any one thread.
#pragma once

#include <algorithm>

#include "runtime/base/time.h"

namespace rmpi {

class Backoff {
 public:
  Backoff(TimeNs first, TimeNs last) : first_(first), last_(last), delay_(first) {}
  TimeNs Delay() const { return delay_; }
  void Next() { delay_ = std::min(delay_ * 2, last_); }
  void Reset() { delay_ = first_; }

 private:
  const TimeNs first_, last_;
  TimeNs delay_;
};

}  // namespace rmpi
