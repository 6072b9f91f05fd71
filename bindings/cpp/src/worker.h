// SPDX-License-Identifier: Apache-2.0
// Worker mode: this process runs tasks. A program enters it in ray::Init when the raylet has started it as a
// worker; ray-mpi-cpp-worker enters it with libraries. Tasks run on the main thread; calls of an actor with
// max_concurrency above 1 on as many threads, which are made when no other waits for a call.
#pragma once

#include <string>
#include <vector>

#include "bindings/cpp/src/failure.h"

namespace rmpi::cpp {

// Whether the raylet has started this process as a worker, and it has not become one yet.
bool HasWorkerToken();

// Runs tasks of this program's functions until told to go, then ends the process: its actor is deleted; after
// the connection is closed exit handlers and destructors of static objects run.
[[noreturn]] void RunProgramAsWorker();

// The same for functions of libraries.
[[noreturn]] void RunLibrariesAsWorker(const std::vector<std::string>& paths);

// For thunks: the actor that a factory has made.
void SetInstance(const abi::Call* call, const abi::Instance* instance);

// For thunks: the task's end, exactly one of them.
void FinishTask(const abi::Call* call, const abi::ValueIn* value);
void FailTask(const abi::Call* call, abi::Code code, const abi::TaskFailure* failure);

}  // namespace rmpi::cpp
