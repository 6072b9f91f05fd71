// SPDX-License-Identifier: Apache-2.0
#include "objstore/spill/skeleton.h"

#include <dlfcn.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace rmpi::objstore::spill {

Status Skeletons::Make(const SkeletonRequest& request, SkeletonReply* reply) {
  if (make_ == nullptr) {
    if (path_.empty()) {
      return Status::Unavailable(
          "objects cannot be spilled: this ray-mpi was built without HDF5. Install it with HDF5's "
          "development "
          "files, or start with a larger --object-store-memory");
    }
    void* handle = dlopen(path_.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      return Status::Unavailable(std::string("objects cannot be spilled: cannot load the HDF5 plugin: ") +
                                 dlerror() + "; load the HDF5 module that ray-mpi was built with");
    }
    make_ = reinterpret_cast<MakeSkeletonFunction>(dlsym(handle, kMakeSkeletonSymbol));
    if (make_ == nullptr) {
      return Status::Invalid(path_ + " is not a ray-mpi HDF5 plugin: it has no symbol " +
                             kMakeSkeletonSymbol);
    }
  }
  *reply = {};
  const int error = make_(&request, reply);
  if (error == 0) return Status::Ok();
  std::string why = reply->error;
  why.resize(std::min(why.size(), why.find('\n')));  // it goes on with addresses
  const std::string what = std::string("cannot make the spill file ") + request.path + ": ";
  if (error != ENOSPC && error != EDQUOT) return Status::Io(what + why, error);
  return Status::OutOfDisk(what + std::strerror(error));
}

}  // namespace rmpi::objstore::spill
