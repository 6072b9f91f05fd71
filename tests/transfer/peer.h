// SPDX-License-Identifier: Apache-2.0
// Peer: another process with an arena and a Transfer of its own, told what to do over a pipe. It is this test
// program started again (UCX does not survive a fork).
#pragma once

#include <signal.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "objstore/transfer/transfer.h"

namespace rmpi {

constexpr uint64_t kMiB = 1 << 20;
constexpr std::array<uint8_t, 16> kTestSecret = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};

inline ObjectId TestObject(uint32_t index = 0) {
  return ObjectId{TaskId{JobId{1}, Address{2, 3, 0, 4}, 5}, index, 0};
}

// The word at byte offset 8 * i of the arena of `seed`.
inline uint64_t PatternWord(uint64_t seed, uint64_t i) { return Mix(i * 0x9e3779b97f4a7c15ULL + seed + 1); }

inline std::byte PatternByte(uint64_t seed, uint64_t offset) {
  return static_cast<std::byte>(PatternWord(seed, offset / 8) >> (offset % 8 * 8));
}

// A memfd, mapped, as a raylet's arena.
struct TestArena {
  std::byte* base = nullptr;
  uint64_t bytes = 0;

  explicit TestArena(uint64_t size) : bytes(size) {
    const int fd = memfd_create("arena", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, static_cast<off_t>(size)) != 0) abort();
    void* p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p == MAP_FAILED) abort();
    base = static_cast<std::byte*>(p);
  }
  ~TestArena() { munmap(base, bytes); }
  TestArena(const TestArena&) = delete;
  TestArena& operator=(const TestArena&) = delete;

  void Fill(uint64_t seed) {
    for (uint64_t i = 0; i < bytes / 8; ++i) {
      const uint64_t word = PatternWord(seed, i);
      std::memcpy(base + 8 * i, &word, 8);
    }
  }
};

// Runs a peer until its stdin ends. Returns the exit status.
int PeerMain(int argc, char** argv);

class Peer {
 public:
  struct Setup {
    uint64_t seed = 1;
    uint64_t arena_bytes = 128 * kMiB;
    uint8_t secret_change = 0;            // xor-ed into the first byte
    uint64_t reject_from = ~uint64_t{0};  // its validator refuses requests at and beyond this offset
  };
  explicit Peer(const Setup& setup);
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  const std::string& address() const { return address_; }
  pid_t pid() const { return pid_; }
  void Kill() { kill(pid_, SIGKILL); }
  // Sends one line and returns the line it answers with.
  std::string Ask(const std::string& line);
  std::string Ask(const std::string& verb, uint32_t node, const std::string& address);

 private:
  pid_t pid_ = -1;
  FILE* in_ = nullptr;   // its stdin
  FILE* out_ = nullptr;  // its stdout
  std::string address_;
};

}  // namespace rmpi
