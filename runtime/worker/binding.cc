// SPDX-License-Identifier: Apache-2.0
// CoreWorker: the CPUs that this process runs on. Its raylet notes them for a lease; before that lease's
// first task all threads are bound, if that is a change. What user code binds by itself stays until then.
#include <dirent.h>
#include <sched.h>

#include <cstdlib>
#include <memory>

#include "runtime/worker/impl.h"

namespace rmpi {
namespace {

std::vector<int> ListOf(const cpu_set_t& set) {
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

// All that there are; later ones inherit it.
void BindThreads(const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int cpu : cpus) CPU_SET(cpu, &set);
  const std::unique_ptr<DIR, int (*)(DIR*)> threads(::opendir("/proc/self/task"), &::closedir);
  if (threads == nullptr) {
    ::sched_setaffinity(0, sizeof set, &set);
    return;
  }
  while (const dirent* entry = ::readdir(threads.get())) {
    const int thread = std::atoi(entry->d_name);
    if (thread > 0) ::sched_setaffinity(thread, sizeof set, &set);  // it may have ended
  }
}

}  // namespace

void CoreWorker::Impl::BindFor(uint64_t lease) {
  if (lease == bound_lease_ || mode_ != Mode::kWorker) return;
  bound_lease_ = lease;
  const SlotNotes& notes = notes_[self_.slot];
  std::vector<int> cpus;
  if (notes.cpu_lease.load(std::memory_order_acquire) == lease) {
    for (int cpu = 0; cpu < static_cast<int>(kMaxBoundCpus); ++cpu) {
      if ((notes.cpus[cpu / 64] >> (cpu % 64) & 1) != 0) cpus.push_back(cpu);
    }
  }
  if (cpus == bound_cpus_) return;
  if (bound_cpus_.empty()) {
    cpu_set_t mask;
    if (::sched_getaffinity(0, sizeof mask, &mask) != 0) return;  // more CPUs than a set has
    node_cpus_ = ListOf(mask);
  }
  bound_cpus_ = cpus;
  BindThreads(cpus.empty() ? node_cpus_ : cpus);
}

}  // namespace rmpi
