// SPDX-License-Identifier: Apache-2.0
#include "bindings/python/src/garbage.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <chrono>

#include "bindings/python/src/py.h"

namespace rmpi::python {
namespace {

constexpr TimeNs kLeastPause = 500 * kMillisecond;
constexpr TimeNs kPauseShare = 20;

}  // namespace

void Garbage::Ask() {
  const std::lock_guard<std::mutex> lock(mutex_);
  asked_ = true;
  changed_.notify_one();
  if (thread_.joinable()) return;
  sigset_t all, before;  // signals are for the main thread
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "ray-mpi-gc");
    Run();
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Garbage::Stop() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
  stopping_ = asked_ = false;
}

void Garbage::Run() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return asked_ || stopping_; });
    if (stopping_) return;
    asked_ = false;
    lock.unlock();
    const TimeNs pause = std::max(kLeastPause, kPauseShare * Collect());
    lock.lock();
    changed_.wait_for(lock, std::chrono::nanoseconds(pause), [this] { return stopping_; });
  }
}

// As gc.collect() does, so also where the program has switched automatic collection off.
TimeNs Garbage::Collect() {
  const PyGILState_STATE gil = PyGILState_Ensure();
  const TimeNs start = MonotonicNow();
  PyObject* const gc = PyImport_ImportModule("gc");
  PyObject* const count = gc == nullptr ? nullptr : PyObject_CallMethod(gc, "collect", nullptr);
  if (count == nullptr) PyErr_WriteUnraisable(gc);
  Py_XDECREF(count);
  Py_XDECREF(gc);
  const TimeNs took = MonotonicNow() - start;
  PyGILState_Release(gil);
  return took;
}

}  // namespace rmpi::python
