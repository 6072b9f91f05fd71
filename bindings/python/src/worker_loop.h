// SPDX-License-Identifier: Apache-2.0
// WorkerLoop: runs tasks on the main thread of a worker, with the GIL held except while it waits for the next
// one. Everything that is not on the path of each task (making errors, entering a job, loading a function's
// code) is in ray_mpi/_worker_main.py.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "bindings/python/src/args.h"
#include "bindings/python/src/codec.h"
#include "runtime/worker/core_worker.h"

namespace rmpi::python {

class WorkerLoop {
 public:
  // A thread of an actor runs the calls of one of its concurrency groups.
  explicit WorkerLoop(CoreWorker* core, uint32_t group = kAnyGroup) : core_(core), group_(group) {}

  // Until the runtime is gone or this worker was told to go. SystemExit of a task is let through.
  void Run();
  // Ends a call of an async actor: with its result, or with an exception (else None). True: the actor is to
  // end.
  bool FinishCall(const nb::capsule& call, nb::object result, nb::object error);
  // The next item of a generator: sent, if somebody wants it.
  ItemPlan Yield(const ExecTask& task, PyObject* value, const ItemPlan& plan);

 private:
  struct Function {
    nb::object callable;
    uint32_t calls = 0;
  };

  // For the selector of an async actor's event loop: begins the calls that have come, and waits until there
  // is one, a Ring(), or the time is over (negative: no limit). _lane_loop.py knows the numbers.
  enum class Served { kOver, kOk, kInterrupted };
  Served Serve(double timeout_s);
  void Execute(ExecTask& task);
  Function& Load(const ExecTask& task);
  nb::object LoadCallable(const ExecTask& task);
  void EnterActor();
  void StartThread(uint32_t group);
  void StartCall(ExecTask& task, const Function& function, const CallArgs& args);
  nb::object Call(const Function& function, const CallArgs& args, bool may_be_cancelled);
  // Sends what a generator yields.
  void Stream(ExecTask& task, nb::object generator, bool may_be_cancelled);
  nb::object StreamResult(const ExecTask& task);
  bool Complete(ExecTask& task, nb::object result);
  void Succeed(ExecTask& task, nb::object result);
  // The error that is set becomes the task's result. True: the actor is to end.
  bool Fail(ExecTask& task);
  // What must hold before user code runs: the job's folders, the thread count of numeric libraries.
  void Enter(const ExecTask& task);
  void CountCall(const ExecTask& task, Function& function);
  // What is stored for the error that is set.
  struct Failure {
    Encoder encoder;
    bool retry = false;       // retry_exceptions covers it
    bool ends_actor = false;  // it is its way to end itself
    bool cancelled = false;
  };
  void Describe(const ExecTask& task, Failure* failure);
  void SplitResult(ExecTask& task, nb::object result);
  void Finish(ExecTask& task, std::span<const ValueSource> results, bool retryable);

  CoreWorker* core_;
  uint32_t group_;
  std::unordered_map<std::string, Function> functions_;
  uint32_t job_ = UINT32_MAX;
  double cpus_ = -1;
};

// The SIGINT handler of a worker (Python level). A cancel interrupts the task it is meant for, and no other:
// outside of user code, or when the current task has no cancel order, the signal is too late and ignored.
PyObject* OnInterrupt(PyObject*, PyObject*);

}  // namespace rmpi::python
