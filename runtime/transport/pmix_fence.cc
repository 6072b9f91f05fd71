// SPDX-License-Identifier: Apache-2.0
#include "runtime/transport/pmix_fence.h"

#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace rmpi {
namespace {

// PMIx's pmix_info_t, as all versions from 2 on have it; its headers are rarely installed beside MPI's.
struct PmixInfo {
  char key[512] = "pmix.collect";
  uint32_t flags = 0;
  struct {
    uint16_t type = 1;  // PMIX_BOOL
    alignas(8) bool flag = true;
    char room_of_other_types[31] = {};
  } value;
};
static_assert(offsetof(PmixInfo, value) == 520);

using FenceFunction = int (*)(const void* ranks, size_t rank_count, const PmixInfo* info, size_t info_count);

}  // namespace

void WaitForRanksUnderSlurm() {
  const char* name_space = std::getenv("PMIX_NAMESPACE");
  if (name_space == nullptr || !std::string_view(name_space).starts_with("slurm.")) return;
  void* library = ::dlopen("libpmix.so.2", RTLD_NOLOAD | RTLD_LAZY);  // Open MPI's, already initialized
  if (library == nullptr) return;
  if (const auto fence = reinterpret_cast<FenceFunction>(::dlsym(library, "PMIx_Fence")); fence != nullptr) {
    const PmixInfo collect;
    const int rc = fence(nullptr, 0, &collect, 1);  // no list of ranks: all of them
    if (rc != 0) std::fprintf(stderr, "ray-mpi: the barrier of the launch failed (PMIx_Fence: %d)\n", rc);
  }
  ::dlclose(library);
}

}  // namespace rmpi
