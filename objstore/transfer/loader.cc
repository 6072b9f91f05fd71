// SPDX-License-Identifier: Apache-2.0
#include <dlfcn.h>
#include <signal.h>

#include <filesystem>
#include <fstream>

#include "objstore/transfer/transfer.h"
#include "runtime/transport/scoped_environment.h"

namespace rmpi {

Status LoadTransfer(const std::string& plugin_path, Transfer::Options options,
                    std::unique_ptr<Transfer>* out) {
  ScopedEnvironment environment;
  environment.Default("UCX_HANDLE_ERRORS",
                      "none");  // else it takes SIGSEGV and friends from whoever had them
  void* handle = dlopen(plugin_path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    return Status::Unavailable(std::string("cannot load the UCX plugin: ") + dlerror() +
                               "; load the UCX module that ray-mpi was built with");
  }
  auto make = reinterpret_cast<MakeTransferFunction>(dlsym(handle, kMakeTransferSymbol));
  if (make == nullptr) {
    return Status::Invalid(plugin_path + " is not a ray-mpi UCX plugin: it has no symbol " +
                           kMakeTransferSymbol);
  }
  // The data thread and UCX's own inherit the mask: signals are for the main thread.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  Status status;
  make(&options, out, &status);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return status;
}

std::string NetDevices(const std::string& interface) {
  namespace fs = std::filesystem;
  std::string out = interface;
  std::error_code error;
  for (const auto& device : fs::directory_iterator("/sys/class/infiniband", error)) {
    for (const auto& port : fs::directory_iterator(device.path() / "ports", error)) {
      std::string number, state;
      std::ifstream(port.path() / "state") >> number >> state;  // "4: ACTIVE"
      if (state != "ACTIVE") continue;
      out += (out.empty() ? "" : ",") + device.path().filename().string() + ":" +
             port.path().filename().string();
    }
  }
  return out;
}

}  // namespace rmpi
