// SPDX-License-Identifier: Apache-2.0
// Making a worker process out of the zygote.
#pragma once

namespace rmpi::python {

// Forks a worker that is a child of `keeper` (a subreaper), with its own process group, out_fd and err_fd as
// stdout and stderr, and death with the keeper. Returns the worker's pid here, 0 in the worker, -errno on
// failure. REQUIRES: the calling process has one thread and holds the GIL.
int ForkWorker(int out_fd, int err_fd, int keeper);

}  // namespace rmpi::python
