// SPDX-License-Identifier: Apache-2.0
// _core: the Python face of the core worker. Private: ray_mpi's modules are the interface.
#include "bindings/python/src/module.h"

#include "bindings/python/src/buffer.h"
#include "bindings/python/src/object_ref.h"

NB_MODULE(_core, m) {
  using namespace rmpi::python;
  // What is alive at exit (types, cached imports) is kept on purpose; a list of it would only worry users.
  nanobind::set_leak_warnings(false);
  InitBuffer(m);
  InitObjectRef(m);
  InitSubmit(m);
  InitActors(m);
  InitGroups(m);
  InitObjects(m);
  InitCompletion(m);
  InitStreams(m);
  InitWorker(m);
  InitOutput(m);
  InitCluster(m);
}
