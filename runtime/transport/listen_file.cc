// SPDX-License-Identifier: Apache-2.0
#include "runtime/transport/listen_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

#include "runtime/base/unique_fd.h"

namespace rmpi {
namespace {

constexpr size_t kMaxBytes = 4096;

bool ParseSecret(const std::string& hex, RunSecret* out) {
  if (hex.size() != 2 * out->size()) return false;
  for (size_t i = 0; i < out->size(); ++i) {
    const char* at = hex.data() + 2 * i;
    const auto [end, error] = std::from_chars(at, at + 2, (*out)[i], 16);
    if (error != std::errc() || end != at + 2) return false;
  }
  return true;
}

}  // namespace

Status WriteListenFile(const std::string& path, const ListenFile& file) {
  const nlohmann::json json = {{"run_id", fmt::format("{:016x}", file.run_id)},
                               {"version", file.version},
                               {"address", file.address},
                               {"secret", fmt::format("{:02x}", fmt::join(file.secret, ""))}};
  const std::string text = json.dump(1) + "\n", fresh = fmt::format("{}.{}", path, ::getpid());
  const UniqueFd fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return Status::Io("--listen: " + fresh, errno);
  const bool written = ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (written && ::rename(fresh.c_str(), path.c_str()) == 0) return Status::Ok();
  const Status failed = Status::Io("--listen: " + path, errno);
  ::unlink(fresh.c_str());
  return failed;
}

Status ReadListenFile(const std::string& path, ListenFile* out) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info {};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0) {
    return Status::NotFound(
        fmt::format("--join: cannot open {} ({}): name the run directory of a run on this host, or the "
                    "file that its --listen names",
                    path, std::strerror(errno)));
  }
  if (info.st_uid != ::geteuid() || (info.st_mode & 077) != 0) {
    return Status::Invalid(
        fmt::format("--join: {} holds a secret and must be yours alone (chmod 600)", path));
  }
  std::string content(kMaxBytes, '\0');
  content.resize(static_cast<size_t>(std::max<ssize_t>(::read(fd.get(), content.data(), content.size()), 0)));
  const auto json = nlohmann::json::parse(content, nullptr, false);
  const auto text = [&](const char* key) {
    const bool there = json.is_object() && json.contains(key) && json[key].is_string();
    return there ? json[key].get<std::string>() : "";
  };
  out->address = text("address");
  out->version = text("version");
  out->run_id = std::strtoull(text("run_id").c_str(), nullptr, 16);
  if (out->address.empty() || !ParseSecret(text("secret"), &out->secret)) {
    return Status::Invalid(fmt::format("--join: {} was not written by a run with --listen", path));
  }
  return Status::Ok();
}

void RemoveListenFile(const std::string& path, uint64_t run_id) {
  ListenFile file;
  if (ReadListenFile(path, &file).ok() && file.run_id == run_id) ::unlink(path.c_str());
}

}  // namespace rmpi
