// SPDX-License-Identifier: Apache-2.0
// A worker's stdout and stderr: what Python code prints goes to the raylet in frames that name its task
// (runtime/raylet/output_frames.h).
#pragma once

#include <string>

#include "bindings/python/src/py.h"

namespace rmpi::python {

// Main thread, GIL held: what is printed from now on is of this task.
void SetOutputName(const std::string& name);
// All that was printed is in the pipes, also what has no newline yet and what C libraries print. An exception
// of a stream that user code has put there is dropped.
void FlushOutput();

}  // namespace rmpi::python
