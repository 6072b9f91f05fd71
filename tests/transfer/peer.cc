// SPDX-License-Identifier: Apache-2.0
#include "tests/transfer/peer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <iostream>
#include <sstream>

namespace rmpi {
namespace {

std::string ToHex(const std::string& bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out += kDigits[static_cast<uint8_t>(c) >> 4];
    out += kDigits[static_cast<uint8_t>(c) & 15];
  }
  return out;
}

std::string FromHex(const std::string& text) {
  std::string out;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    out += static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16));
  }
  return out;
}

// The answer to "fetch <node> <bytes> <source seed>": "ok <wrong bytes>" or the error.
std::string FetchAndCompare(Transfer* transfer, TestArena* arena, uint32_t node, uint64_t bytes,
                            uint64_t seed) {
  transfer->Fetch(1, node, TestObject(), 0, 0, 0, bytes);
  for (;;) {
    pollfd event{transfer->EventFd(), POLLIN, 0};
    if (poll(&event, 1, 20000) != 1) return "timeout";
    const auto done = transfer->TakeCompletions();
    if (done.empty()) continue;
    if (!done[0].status.ok()) return done[0].status.message();
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < bytes; ++i) wrong += arena->base[i] != PatternByte(seed, i);
    return "ok " + std::to_string(wrong);
  }
}

}  // namespace

int PeerMain(int argc, char** argv) {
  if (argc < 6) return 2;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const uint64_t seed = strtoull(argv[2], nullptr, 10);
  TestArena arena(strtoull(argv[3], nullptr, 10));
  arena.Fill(seed);
  const uint64_t reject_from = strtoull(argv[5], nullptr, 10);
  Transfer::Options options;
  options.secret = kTestSecret;
  options.secret[0] = static_cast<uint8_t>(options.secret[0] ^ atoi(argv[4]));
  options.arena_base = arena.base;
  options.arena_bytes = arena.bytes;
  options.net_devices = "lo";
  options.validator = [&](const ObjectId& id, uint32_t attempt, uint32_t, uint64_t offset, uint64_t) {
    const bool held = id == TestObject() && attempt == 0 && offset < reject_from;
    return held ? Transfer::Held::kHere : Transfer::Held::kGone;
  };
  std::unique_ptr<Transfer> transfer;
  const Status s = LoadTransfer(UCX_PLUGIN, options, &transfer);
  if (!s.ok()) {
    std::cout << "failed " << s.message() << std::endl;
    return 1;
  }
  std::cout << "address " << ToHex(transfer->LocalAddress()) << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string verb, hex;
    uint32_t node = 0;
    uint64_t bytes = 0, of_seed = 0;
    words >> verb;
    if (verb == "add" && words >> node >> hex) {
      std::cout << (transfer->AddPeer(node, FromHex(hex)).ok() ? "ok" : "bad") << std::endl;
    } else if (verb == "drop" && words >> node) {
      transfer->DropPeer(node);
      std::cout << "ok" << std::endl;
    } else if (verb == "fetch" && words >> node >> bytes >> of_seed) {
      std::cout << FetchAndCompare(transfer.get(), &arena, node, bytes, of_seed) << std::endl;
    } else if (verb == "counters") {
      const auto c = transfer->counters();
      std::cout << "refused " << c.refused << " gone " << c.gone << " out " << c.bytes_out << std::endl;
    } else if (verb == "cpu") {
      rusage u;
      getrusage(RUSAGE_SELF, &u);
      std::cout << (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 + u.ru_utime.tv_usec + u.ru_stime.tv_usec
                << std::endl;
    } else {
      std::cout << "what?" << std::endl;
    }
  }
  return 0;
}

Peer::Peer(const Setup& setup) {
  int to[2], from[2];
  if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0) abort();
  const std::string arguments[] = {std::to_string(setup.seed), std::to_string(setup.arena_bytes),
                                   std::to_string(setup.secret_change), std::to_string(setup.reject_from)};
  pid_ = fork();
  if (pid_ == 0) {
    dup2(to[0], 0);
    dup2(from[1], 1);
    execl("/proc/self/exe", "peer", "--peer", arguments[0].c_str(), arguments[1].c_str(),
          arguments[2].c_str(), arguments[3].c_str(), nullptr);
    _exit(127);
  }
  close(to[0]);
  close(from[1]);
  in_ = fdopen(to[1], "w");
  out_ = fdopen(from[0], "r");
  const std::string first = Ask("");
  if (first.rfind("address ", 0) != 0) {
    fprintf(stderr, "peer: %s\n", first.c_str());
    abort();
  }
  address_ = FromHex(first.substr(8));
}

Peer::~Peer() {
  fclose(in_);
  fclose(out_);
  Kill();
  waitpid(pid_, nullptr, 0);
}

std::string Peer::Ask(const std::string& line) {
  if (!line.empty()) {
    fprintf(in_, "%s\n", line.c_str());
    fflush(in_);
  }
  std::string answer;
  for (int c = fgetc(out_); c != EOF && c != '\n'; c = fgetc(out_)) answer += static_cast<char>(c);
  return answer;
}

std::string Peer::Ask(const std::string& verb, uint32_t node, const std::string& address) {
  return Ask(verb + " " + std::to_string(node) + " " + ToHex(address));
}

}  // namespace rmpi
