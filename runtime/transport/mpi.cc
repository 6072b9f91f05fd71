// SPDX-License-Identifier: Apache-2.0
#include "runtime/transport/mpi.h"

#include <dlfcn.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "runtime/transport/interface.h"
#include "runtime/transport/scoped_environment.h"

#ifndef RMPI_VERSION
#error "RMPI_VERSION must be defined by the build"
#endif

namespace rmpi {
namespace {

// Filled before the alarm is set, so that the handler only writes.
char g_alarm_message[512];
size_t g_alarm_message_size = 0;
int g_alarm_exit_status = 1;
struct sigaction g_alarm_previous;

void OnAlarm(int) {
  [[maybe_unused]] const ssize_t n = write(STDERR_FILENO, g_alarm_message, g_alarm_message_size);
  _exit(g_alarm_exit_status);
}

const char* EnvOr(const char* name, const char* otherwise) {
  const char* value = getenv(name);
  return value != nullptr ? value : otherwise;
}

// Open MPI's parameters, where the user has not set them: pml ob1 over btl self,tcp, bound to one interface
// (loopback when all ranks share a host), frames never rendezvous.
void PrepareEnvironment(ScopedEnvironment* environment) {
  environment->Default("OMPI_MCA_pml", "ob1");  // the only one that survives a peer's death
  environment->Default("OMPI_MCA_btl",
                       "self,tcp");  // the only one with sockets to sleep on; hosts talk within by lanes
  // A frame must leave as one eager message: a rendezvous with a peer that dies half-way would hold one of
  // our few receive buffers for ever. 4 KiB leave room for our trailer and MPI's headers.
  const std::string eager = std::to_string(kMaxFrameBytes + 4096);
  environment->Default("OMPI_MCA_btl_tcp_eager_limit", eager);
  environment->Default("OMPI_MCA_btl_tcp_rndv_eager_limit", eager);
  environment->Default("OMPI_MCA_btl_tcp_max_send_size", eager);
  environment->Default("OMPI_MCA_btl_tcp_progress_thread", "0");
  environment->Default("OMPI_MCA_mpi_warn_on_fork", "0");
  environment->Default("UCX_HANDLE_ERRORS",
                       "none");  // Open MPI loads UCX, which else takes SIGSEGV and friends
  if (getenv("OMPI_MCA_btl_tcp_if_include") == nullptr && getenv("OMPI_MCA_btl_tcp_if_exclude") == nullptr) {
    NetInterface interface;
    if (LaunchIsOneHost()) {
      environment->Default("OMPI_MCA_btl_tcp_if_include", "lo");
    } else if (JobInterface(&interface).ok()) {
      environment->Default("OMPI_MCA_btl_tcp_if_include", interface.name);
    }
  }
}

}  // namespace

std::string BuildVersion() { return RMPI_VERSION; }

Status LoadMpiTransport(const std::string& plugin_path, MpiLaunch* out, const std::string& own_version) {
  ScopedEnvironment environment;
  PrepareEnvironment(&environment);
  // RTLD_GLOBAL: Open MPI's own components look for libmpi's symbols in the global scope.
  void* handle = dlopen(plugin_path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (handle == nullptr) {
    return Status::Unavailable(std::string("cannot load the MPI plugin: ") + dlerror() +
                               "; load the MPI module that ray-mpi was built with");
  }
  auto bring_up = reinterpret_cast<MpiBringUpFunction>(dlsym(handle, kMpiBringUpSymbol));
  if (bring_up == nullptr) {
    return Status::Invalid(plugin_path + " is not a ray-mpi MPI plugin: it has no symbol " +
                           kMpiBringUpSymbol);
  }
  MpiBringUp args;
  args.own_version = own_version;
  bring_up(&args);  // the handle stays open: MPI cannot be unloaded
  if (args.status.ok()) *out = std::move(args.launch);
  return args.status;
}

BringUpAlarm::BringUpAlarm(unsigned seconds, int exit_status) {
  char host[128] = "?";
  gethostname(host, sizeof(host) - 1);
  const char* rank = EnvOr("OMPI_COMM_WORLD_RANK", EnvOr("SLURM_PROCID", EnvOr("PMI_RANK", "?")));
  const int n = snprintf(g_alarm_message, sizeof(g_alarm_message),
                         "ray-mpi: rank %s on %s waited %u s in MPI bring-up: some rank of the launch never "
                         "came up. Look at the other ranks' messages; RAY_MPI_BRINGUP_TIMEOUT=<seconds> "
                         "changes the limit.\n",
                         rank, host, seconds);
  g_alarm_message_size = n < 0 ? 0 : strnlen(g_alarm_message, sizeof(g_alarm_message));
  g_alarm_exit_status = exit_status;
  struct sigaction action {};
  action.sa_handler = OnAlarm;
  sigaction(SIGALRM, &action, &g_alarm_previous);
  alarm(seconds);
}

BringUpAlarm::~BringUpAlarm() {
  alarm(0);
  sigaction(SIGALRM, &g_alarm_previous, nullptr);
}

}  // namespace rmpi
