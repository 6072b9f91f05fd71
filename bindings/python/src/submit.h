// SPDX-License-Identifier: Apache-2.0
// What other files need of a Caller.
#pragma once

#include "bindings/python/src/py.h"
#include "runtime/worker/core_worker.h"

namespace rmpi::python {

// The template of a Caller, which is bound first if need be.
TemplateHandle BoundTemplate(nb::handle caller);
// Whether its function is in another language: arguments go as those read them.
bool IsForeign(nb::handle caller);

}  // namespace rmpi::python
