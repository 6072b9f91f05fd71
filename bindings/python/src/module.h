// SPDX-License-Identifier: Apache-2.0
// The parts of the module _core; each file adds its own names.
#pragma once

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bindings/python/src/py.h"

namespace rmpi::python {

using namespace nanobind::literals;

void InitSubmit(nb::module_& m);      // Caller, bind
void InitActors(nb::module_& m);      // create_actor, kill_actor, find_actor, list_actors
void InitGroups(nb::module_& m);      // create_group, remove_group, groups, group_ready, current_group
void InitObjects(nb::module_& m);     // get, wait, put, cancel, encode, decode
void InitCompletion(nb::module_& m);  // Completions
void InitStreams(nb::module_& m);     // the items of generators
void InitWorker(nb::module_& m);      // run_worker, fork_worker
void InitOutput(nb::module_& m);      // take_output_pipes, write_output
void InitCluster(nb::module_& m);     // connect, disconnect, nodes, stats, key/value, ids

}  // namespace rmpi::python
