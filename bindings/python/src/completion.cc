// SPDX-License-Identifier: Apache-2.0
// Completions: tells Python which refs became ready, for await, futures and callbacks. The core calls back on
// whatever thread drives the lanes, perhaps while the GIL is held by a thread that waits for that one; so the
// callback takes no GIL: it appends a token to a queue and writes an eventfd when the queue was empty. An
// event loop (or a helper thread) reads the eventfd and drains the queue: one wake-up for many refs.
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>

#include "bindings/python/src/module.h"
#include "bindings/python/src/object_ref.h"
#include "bindings/python/src/session.h"
#include "runtime/base/unique_fd.h"

namespace rmpi::python {
namespace {

class Queue {
 public:
  // What waits for mail in WaitForTask is rung; anything else reads the eventfd.
  explicit Queue(bool rings) {
    if (rings) return;
    event_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!event_.valid()) throw std::runtime_error(std::string("eventfd: ") + std::strerror(errno));
  }
  void Push(uint64_t token) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      tokens_.push_back(token);
      if (tokens_.size() > 1) return;  // the reader has been told already
    }
    if (!event_.valid()) return Session::Get().core()->Ring();
    const uint64_t one = 1;
    (void)!write(event_.get(), &one, sizeof one);  // cannot fail: the counter is far from its limit
  }
  std::vector<uint64_t> Drain() {
    std::lock_guard<std::mutex> lock(mutex_);
    uint64_t count = 0;
    if (event_.valid()) (void)!read(event_.get(), &count, sizeof count);  // nothing to read: nothing new
    return std::exchange(tokens_, {});
  }
  int fd() const { return event_.get(); }

 private:
  UniqueFd event_;
  std::mutex mutex_;
  std::vector<uint64_t> tokens_;
};

class Completions {
 public:
  explicit Completions(bool rings) : queue_(std::make_shared<Queue>(rings)) {}
  int fileno() const { return queue_->fd(); }
  std::vector<uint64_t> drain() { return queue_->Drain(); }
  // Queues `token` once, soon after the object is ready and on this node.
  void watch(nb::handle ref, uint64_t token) {
    if (!IsObjectRef(ref.ptr())) Raise(PyExc_TypeError, "watch() wants an ObjectRef");
    Session::Get().core()->OnReady(LiveRef(ref.ptr()), [queue = queue_, token] { queue->Push(token); });
  }
  // The same, once a generator that runs in an event loop may yield again.
  void watch_reader(const nb::capsule& call, uint64_t token) {
    const auto& task = *static_cast<const ExecTask*>(call.data());
    Session::Get().core()->OnReaderNear(task, [queue = queue_, token] { queue->Push(token); });
  }
  void wake() { queue_->Push(0); }

 private:
  std::shared_ptr<Queue> queue_;
};

}  // namespace

void InitCompletion(nb::module_& m) {
  nb::class_<Completions>(m, "Completions", "Tells which refs became ready; see _async.py.")
      .def(nb::init<bool>(), "rings"_a = false,
           "rings: it wakes the main thread's event loop (_core.ring), which then drains; there is no "
           "fileno().")
      .def("fileno", &Completions::fileno,
           "A descriptor that is readable when drain() would return something.")
      .def("drain", &Completions::drain, "The tokens since the last call.")
      .def("watch", &Completions::watch, "ref"_a, "token"_a, "Queues `token` (not 0) once `ref` is ready.")
      .def("watch_reader", &Completions::watch_reader, "call"_a, "token"_a,
           "Queues `token` once the reader of that call's items is near enough.")
      .def("wake", &Completions::wake, "Queues token 0.");
}

}  // namespace rmpi::python
