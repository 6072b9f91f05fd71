// SPDX-License-Identifier: Apache-2.0
// The raylet: the node's scheduler, object store owner and message exchange; on rank 0 the head (GCS) too.
// The keeper forks and calls RunRaylet in the child (no exec).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "objstore/spill/spill_manager.h"
#include "runtime/base/time.h"
#include "sched/cpu_slots.h"

namespace rmpi {

struct RayletConfig {
  std::string session;  // run directory of this node (0700)
  std::string hostname;
  uint64_t run_id = 0;  // rank 0's choice; other ranks learn it at bring-up
  int listen_fd = -1;   // abstract Unix SOCK_SEQPACKET, listening: clients (drivers, workers)
  int board_fd = -1;    // lane::Board memfd
  int arena_fd = -1;    // objstore::Arena memfd
  int pins_fd = -1;     // objstore::PinTable memfd
  int keeper_fd = -1;   // KeeperMessage
  int zygote_fd = -1;   // ZygoteRequest out, ZygoteReply in
  // Shared with the keeper: until when the head is known to have heard of us (Fence). Null: nobody looks.
  std::atomic<TimeNs>* known_alive = nullptr;
  uint64_t object_store_bytes = 0;
  std::vector<std::pair<std::string, double>> resources;  // CPU, GPU, memory, custom
  std::map<std::string, std::string> labels;
  // On rank 0: labels of all nodes, by their label ray-mpi/host, that only the head has found out.
  std::map<std::string, std::vector<std::string>> host_features;
  std::vector<sched::CpuPlace> cpus;  // that workers are bound to; none: they are not bound
  std::vector<int> device_numa;       // by number of the device: near which NUMA domain
  uint32_t prestart_workers = 0;  // started before anybody asks: Python ones at once, C++ ones with their job
  bool prestart_python = true;    // a C++ program may never need any
  uint32_t max_workers = 0;       // 0: as many as the board has slots
  std::string transport = "none";  // none (one node) | mpi | direct | join
  // transport join: the run directory of a head on this host, or the file that a head wrote (see `listen`).
  std::string join;
  // On the head: nodes of other hosts may join. It listens on a TCP port and writes address and secret there.
  std::string listen;
  double drain_timeout_s = 10;  // a node that joined and is asked to leave: for the work that runs there
  std::string mpi_plugin;       // path of libray-mpi-mpi.so
  std::string ucx_plugin;       // path of libray-mpi-ucx.so
  std::string hdf5_plugin;      // path of libray-mpi-hdf5.so
  objstore::spill::SpillOptions spill;
  bool dedicated_head = false;  // rank 0 offers no resources
  bool serve = false;
  std::string log_dir;  // per-worker files are written there when not empty
  bool log_to_driver = true;
  int log_level = 2;  // spdlog's numbers
  double bringup_timeout_s = 60;
  uint32_t heartbeat_tree = 256;  // with more ranks, most heartbeats go through others
};

// Runs until the run is over. Returns the process's exit status.
int RunRaylet(const RayletConfig& config);

}  // namespace rmpi
