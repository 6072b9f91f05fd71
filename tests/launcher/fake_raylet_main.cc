// SPDX-License-Identifier: Apache-2.0
// ray-mpi with a raylet that knows the keeper's protocol and nothing else, so that the keeper can be tested
// against a raylet that is late, that dies, or that does not let go. FAKE_RAYLET says how it behaves:
//   (empty)  kReady at once, kDone when the driver is gone
//   mute     never kReady
//   stuck    kReady, then never kDone
//   fatal    kFatal with status 3
//   late     kReady after 0.5 s
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "launcher/run.h"

namespace {

void Say(int fd, rmpi::KeeperMessage::Type type, int status, const char* text) {
  rmpi::KeeperMessage message;
  message.type = type;
  message.wait_status = status;
  std::snprintf(message.text, sizeof message.text, "%s", text);
  // A keeper that is gone shows at the next recv.
  [[maybe_unused]] const ssize_t n = ::send(fd, &message, sizeof message, MSG_NOSIGNAL);
}

int FakeRaylet(const rmpi::RayletConfig& config) {
  using Message = rmpi::KeeperMessage;
  struct sigaction interrupt {};
  interrupt.sa_handler = [](int) {};  // SIGTERM only ends the wait below
  ::sigaction(SIGTERM, &interrupt, nullptr);
  const char* wish = std::getenv("FAKE_RAYLET");
  const std::string mode = wish == nullptr ? "" : wish;
  if (mode == "fatal") {
    Say(config.keeper_fd, Message::kFatal, 3, "the fake raylet cannot go on");
    return 3;
  }
  if (mode == "late") ::usleep(500'000);
  if (mode != "mute") Say(config.keeper_fd, Message::kReady, 0, "fake node");
  Message message;
  while (::recv(config.keeper_fd, &message, sizeof message, 0) == sizeof message) {
    const bool over = message.type == Message::kDriverExit || message.type == Message::kStop;
    if (over && mode != "stuck" && mode != "mute") {
      Say(config.keeper_fd, Message::kDone, 0, "");
      return 0;
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return rmpi::launcher::Main(argc, argv, FakeRaylet); }
