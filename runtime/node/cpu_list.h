// SPDX-License-Identifier: Apache-2.0
// Sets of logical CPUs (the kernel's numbers), as ascending lists.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "runtime/base/status.h"

namespace rmpi {

using CpuList = std::vector<int>;

// The kernel's notation, e.g. "0-3,8". What cannot be read is left out.
CpuList ParseCpuList(const std::string& text);
std::string FormatCpuList(const CpuList& cpus);

CpuList Intersect(const CpuList& a, const CpuList& b);

// Part `index` of `parts` nearly equal, contiguous ones; the first ones get what is left over.
CpuList PartOf(const CpuList& cpus, int index, int parts);

// The mask of a process (0: this thread); empty if it cannot be read.
CpuList AffinityOf(pid_t pid);

// Lets this thread, and what it starts from now on, run on these CPUs only.
Status BindToCpus(const CpuList& cpus);

}  // namespace rmpi
