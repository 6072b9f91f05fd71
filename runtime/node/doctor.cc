// SPDX-License-Identifier: Apache-2.0
#include "runtime/node/doctor.h"

#include <dlfcn.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "runtime/node/cgroup.h"
#include "runtime/node/command.h"
#include "runtime/node/files.h"

namespace rmpi {
namespace {

constexpr int kCommandTimeoutMs = 5000;

std::string MiB(uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

// Loads the plugin, and asks the MPI library that comes with it for its version, which needs no MPI_Init.
DoctorCheck CheckMpi(const DoctorOptions& options) {
  DoctorCheck check{"mpi", Health::kOk, "", ""};
  void* plugin =
      options.mpi_plugin.empty() ? nullptr : ::dlopen(options.mpi_plugin.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (plugin == nullptr) {
    const char* error = options.mpi_plugin.empty() ? "this build has no MPI plugin" : ::dlerror();
    return {
        "mpi", Health::kFail, error == nullptr ? "the MPI plugin cannot be loaded" : error,
        "load the MPI module that ray-mpi was built with, or build ray-mpi again with this site's mpicc; one "
        "node works without MPI"};
  }
  using VersionFunction = int (*)(char*, int*);
  const auto version_of = reinterpret_cast<VersionFunction>(::dlsym(plugin, "MPI_Get_library_version"));
  char version[8192] = "";  // MPI_MAX_LIBRARY_VERSION_STRING of all common libraries is at most this
  int length = 0;
  if (version_of != nullptr && version_of(version, &length) == 0) {
    check.text = std::string(version).substr(0, std::string(version).find_first_of(",\n"));
  } else {
    check = {"mpi", Health::kFail, options.mpi_plugin + " has no MPI library", "build ray-mpi again"};
  }
  // Open MPI keeps threads and handlers once loaded; it stays until we exit, which is soon.
  return check;
}

DoctorCheck CheckLaunch(const DoctorOptions& options) {
  const Environment& env = options.detect.environment;
  const LaunchInfo launch = DetectLaunch(env, options.command);
  const std::string place = "rank " + std::to_string(launch.rank) + " of " + std::to_string(launch.size);
  switch (launch.kind) {
    case Launch::kSrun:
      return {"launch", Health::kOk, place + ", started by srun", ""};
    case Launch::kMpirun:
      return {"launch", Health::kOk, place + ", started by mpirun", ""};
    case Launch::kNone:
      return {"launch", launch.advice.empty() ? Health::kOk : Health::kWarn, "one process, no launcher",
              launch.advice};
    default:
      return {"launch", Health::kFail, "a launch that cannot work", launch.advice};
  }
}

constexpr char kNoSlurm[] = "no Slurm here";

// Which PMI plugin the step uses, or which one a step would use.
DoctorCheck CheckPmi(const DoctorOptions& options) {
  const Environment& env = options.detect.environment;
  if (!Get(env, "PMIX_NAMESPACE").empty()) {
    return {"pmi", Health::kOk,
            "PMIx " + Get(env, "PMIX_VERSION") + ", namespace " + Get(env, "PMIX_NAMESPACE"), ""};
  }
  const auto list = options.output_of({"srun", "--mpi=list"});
  if (!list || list->find("MPI plugin types") == std::string::npos) {
    return {"pmi", Health::kOk, kNoSlurm, ""};
  }
  std::istringstream words(*list);
  std::set<std::string> plugins;
  for (std::string word; words >> word;) {
    if (word.starts_with("pmi")) plugins.insert(word);
  }
  std::string found;
  for (const std::string& plugin : plugins) found += " " + plugin;
  if (found.find(" pmix") == found.npos) {
    return {"pmi", Health::kFail, "Slurm has no pmix plugin; it has:" + found,
            "start ranks by mpirun instead: ray-mpi -n <ranks>"};
  }
  std::string text = "Slurm has:" + found;
  const std::string config = options.output_of({"scontrol", "show", "config"}).value_or("");
  for (const std::string& line : Split(config, '\n')) {
    if (!line.starts_with("MpiDefault")) continue;
    const std::string value = line.substr(line.find_last_of(" =") + 1);
    text += "; its default is " + value;
    if (!value.starts_with("pmix")) return {"pmi", Health::kWarn, text, "always say srun --mpi=pmix"};
  }
  return {"pmi", Health::kOk, text, ""};
}

DoctorCheck CheckCpus(const NodeResources& node) {
  std::ostringstream text;
  text << node.cpus << " CPUs of " << FormatCpuList(node.cpu_ids) << ", NUMA nodes "
       << FormatCpuList(node.numa_nodes);
  return {"cpus", Health::kOk, text.str(), ""};
}

DoctorCheck CheckMemory(const DoctorOptions& options, const NodeResources& node) {
  const CgroupLimits limits = ReadCgroupLimits(options.detect.root);
  return {"memory", Health::kOk,
          MiB(node.memory_bytes) + " for this rank, " + MiB(node.object_store_bytes) +
              " for the object store; " +
              (limits.memory_bytes ? "control group limit " + MiB(*limits.memory_bytes) + ", " +
                                         MiB(*limits.memory_left_bytes) + " left"
                                   : "no control group limit"),
          ""};
}

DoctorCheck CheckGpus(const NodeResources& node) {
  std::string text = std::to_string(node.gpu_ids.size()) + " GPUs";
  for (size_t i = 0; i < node.gpu_ids.size(); ++i) text += (i == 0 ? ": " : ",") + node.gpu_ids[i];
  if (!node.gpu_ids.empty()) {
    text += (node.gpu_type.empty() ? "" : ", model " + node.gpu_type) +
            (node.gpus_masked ? ", as " : ", numbered; tasks see theirs in ") + node.gpu_variable +
            (node.gpus_masked ? " says" : "");
  }
  return {"gpus", Health::kOk, text, ""};
}

DoctorCheck CheckMemlock(const NodeResources& node) {
  if (node.memlock_bytes >= node.object_store_bytes) {
    return {"memlock", Health::kOk, node.memlock_bytes == UINT64_MAX ? "unlimited" : MiB(node.memlock_bytes),
            ""};
  }
  return {"memlock", Health::kWarn, MiB(node.memlock_bytes) + " may be locked, less than the object store",
          "transfers over InfiniBand go through bounce buffers; ask the administrator for "
          "LimitMEMLOCK=infinity in "
          "slurmd.service"};
}

DoctorCheck CheckUcx(const DoctorOptions& options) {
  const auto devices = options.output_of({"ucx_info", "-d"});
  if (!devices) return {"ucx", Health::kOk, "ucx_info is not installed; its devices are unknown", ""};
  std::set<std::string> found;
  std::string transport;
  for (const std::string& line : Split(*devices, '\n')) {
    std::istringstream words(line);
    std::string hash, key, value;
    words >> hash >> key >> value;
    if (key == "Transport:") transport = value;
    if (key == "Device:" && transport != "self" && transport != "sysv" && transport != "posix" &&
        transport != "cma") {
      found.insert(transport + "/" + value);
    }
  }
  std::string text;
  for (const std::string& name : found) text += (text.empty() ? "" : " ") + name;
  if (found.empty())
    return {"ucx", Health::kWarn, "UCX sees no network device", "set UCX_NET_DEVICES, see ucx_info -d"};
  return {"ucx", Health::kOk, text, ""};
}

// The line that uses all there is.
std::string RunLine(const DoctorOptions& options, const DoctorCheck& pmi) {
  const bool in_job = !Get(options.detect.environment, "SLURM_JOB_ID").empty();
  if (pmi.health != Health::kFail && (in_job || pmi.text != kNoSlurm)) {
    return SrunLine(options.detect.environment, options.command);
  }
  return "ray-mpi app.py, or with several ranks on this machine ray-mpi -n 2 app.py";
}

}  // namespace

std::vector<DoctorCheck> DoctorReport(const DoctorOptions& given) {
  DoctorOptions options = given;
  if (!options.output_of) {
    options.output_of = [](const std::vector<std::string>& command) {
      return OutputOf(command, kCommandTimeoutMs);
    };
  }
  const NodeResources node = DetectNode(options.detect);
  const DoctorCheck pmi = CheckPmi(options);
  std::vector<DoctorCheck> report = {CheckMpi(options), CheckLaunch(options),       pmi,
                                     CheckCpus(node),   CheckMemory(options, node), CheckMemlock(node),
                                     CheckGpus(node),   CheckUcx(options)};
  for (const std::string& notice : node.notices) report.push_back({"notice", Health::kWarn, notice, ""});
  report.push_back({"run", Health::kOk, RunLine(options, pmi), ""});
  return report;
}

}  // namespace rmpi
