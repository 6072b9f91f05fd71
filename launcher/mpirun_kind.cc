// SPDX-License-Identifier: Apache-2.0
#include "launcher/mpirun_kind.h"

#include <string_view>

namespace rmpi::launcher {

MpirunKind MpirunKindOf(const std::string& version) {
  if (version.find("HYDRA") != std::string::npos) return MpirunKind::kHydra;
  constexpr std::string_view kOpenMpi = "(Open MPI) ";
  const size_t at = version.find(kOpenMpi);
  if (at == std::string::npos) return MpirunKind::kOther;
  const size_t digit = at + kOpenMpi.size();
  const bool four_or_older = digit + 1 < version.size() && version[digit] <= '4' && version[digit + 1] == '.';
  return four_or_older ? MpirunKind::kOpenMpi4 : MpirunKind::kOpenMpi5;
}

std::vector<std::string> MpirunOptions(MpirunKind kind, bool one_host, const Environment& environment) {
  // It hands the environment on by itself. A rank that dies would else take the others with it.
  if (kind == MpirunKind::kHydra) return {"-disable-auto-cleanup"};
  std::vector<std::string> options;
  if (kind == MpirunKind::kOther) return options;
  if (kind == MpirunKind::kOpenMpi5) options = {"--with-ft", "ulfm"};  // for 4, a variable does it
  if (one_host) {
    options.insert(options.end(), {"--stdin", "none"});
    return options;
  }
  // Daemons on other hosts do not inherit the environment.
  for (const auto& [name, value] : environment) {
    const bool wanted = name.starts_with("RAY_MPI_") || name == "PYTHONPATH" || name == "PATH" ||
                        name == "LD_LIBRARY_PATH" || name == "VIRTUAL_ENV";
    if (wanted) options.insert(options.end(), {"-x", name});
  }
  return options;
}

}  // namespace rmpi::launcher
