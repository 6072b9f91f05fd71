// SPDX-License-Identifier: Apache-2.0
#include "runtime/node/cpu_grant.h"

#include <algorithm>
#include <cmath>

namespace rmpi {
namespace {

int Size(const CpuList& cpus) { return static_cast<int>(cpus.size()); }

// What mpirun's own binding took away, given back.
CpuList Unbound(const CpuQuestion& q, CpuGrant* grant) {
  const CpuList whole = q.launcher_mask ? Intersect(*q.launcher_mask, q.available) : q.available;
  if (Size(q.mask) >= Size(whole)) return q.mask;
  grant->notices.push_back("mpirun bound this rank to CPU " + FormatCpuList(q.mask) +
                           "; it takes its share of " + FormatCpuList(whole) +
                           " instead (mpirun --bind-to none avoids the detour)");
  return whole;
}

// This rank's part of CPUs that the ranks of the host share.
void Divide(const CpuQuestion& q, const CpuList& cpus, CpuGrant* grant) {
  if (q.local_size > Size(cpus)) {
    grant->ids = cpus;
    grant->count = 1;
    grant->notices.push_back(std::to_string(q.local_size) + " ranks share the " +
                             std::to_string(cpus.size()) +
                             " CPUs of this host; each counts as one CPU, and they will take turns");
    return;
  }
  const bool several = q.local_size > 1;
  grant->ids = PartOf(several && q.by_locality ? q.by_locality(cpus) : cpus, q.local_rank, q.local_size);
  std::sort(grant->ids.begin(), grant->ids.end());
  grant->count = Size(grant->ids);
}

// Slurm's CPUs on this node, divided among our ranks there.
int SlurmShare(const CpuQuestion& q) {
  const int each = *q.slurm_cpus / q.local_size, more = *q.slurm_cpus % q.local_size;
  return std::max(1, each + (q.local_rank < more ? 1 : 0));
}

void GrantUnderSrun(const CpuQuestion& q, CpuGrant* grant) {
  const int size = Size(q.mask);
  if (!q.slurm_cpus) {
    // Nothing says whose CPUs these are; a mask that is not the whole set was made for this rank.
    size == Size(q.available) ? Divide(q, q.mask, grant) : void(grant->count = size);
    return;
  }
  const int share = SlurmShare(q);
  if (q.local_size > 1 && size > share && size == std::min(*q.slurm_cpus, Size(q.available))) {
    Divide(q, q.mask, grant);
    return;
  }
  grant->count = std::min(size, share);
  if (size < share && size < Size(q.available)) {
    grant->notices.push_back("this rank may run on " + std::to_string(size) + " CPU" + (size > 1 ? "s" : "") +
                             " (" + FormatCpuList(q.mask) + ") although Slurm granted " +
                             std::to_string(share) + "; use srun --cpus-per-task=" + std::to_string(share) +
                             " or --cpu-bind=none");
  }
}

void GrantUnderMpirun(const CpuQuestion& q, CpuGrant* grant) {
  const CpuList whole = Unbound(q, grant);
  if (q.slurm_cpus && *q.slurm_cpus < Size(whole)) {
    grant->ids = whole;
    grant->count = SlurmShare(q);
  } else {
    Divide(q, whole, grant);
  }
}

}  // namespace

CpuGrant GrantCpus(const CpuQuestion& question) {
  CpuQuestion q = question;
  if (CpuList inside = Intersect(q.mask, q.available); !inside.empty()) q.mask = inside;
  CpuGrant grant{q.mask, static_cast<double>(q.mask.size()), {}};
  switch (q.launch) {
    case Launch::kSrun:
      GrantUnderSrun(q, &grant);
      break;
    case Launch::kMpirun:
      GrantUnderMpirun(q, &grant);
      break;
    default:
      if (q.slurm_cpus) grant.count = std::clamp<double>(*q.slurm_cpus, 1, grant.count);
  }
  if (q.quota && *q.quota / q.local_size < grant.count) {
    grant.count = std::max(1.0, std::floor(*q.quota / q.local_size));
    grant.notices.push_back("a control group limits this host's ranks to " + std::to_string(*q.quota) +
                            " CPUs; this rank counts as " + std::to_string(static_cast<int>(grant.count)));
  }
  return grant;
}

}  // namespace rmpi
