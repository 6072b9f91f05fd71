// SPDX-License-Identifier: Apache-2.0
#include "objstore/fork_count.h"

#include <pthread.h>

#include <atomic>

namespace rmpi::objstore {
namespace {

std::atomic<uint32_t> forks{0};

void InChild() { forks.fetch_add(1, std::memory_order_relaxed); }

[[maybe_unused]] const int registered = ::pthread_atfork(nullptr, nullptr, InChild);

}  // namespace

uint32_t ForkCount() { return forks.load(std::memory_order_relaxed); }

}  // namespace rmpi::objstore
