// SPDX-License-Identifier: Apache-2.0
#include "tests/transport/mpi_scenarios.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "runtime/transport/mpi.h"
#include "tests/transport/traffic.h"

namespace rmpi {
namespace {

struct Rank {
  std::unique_ptr<Transport> transport;
  std::vector<std::string> hosts;
  int epoll = -1;

  Status Join(const std::string& version = BuildVersion()) {
    BringUpAlarm alarm(60, 3);
    MpiLaunch launch;
    const Status s = LoadMpiTransport(MPI_PLUGIN, &launch, version);
    if (!s.ok()) return s;
    transport = std::move(launch.transport);
    hosts = std::move(launch.hosts);
    epoll = NestedEpoll(transport.get());
    return s;
  }
  int id() const { return transport->rank(); }
  int size() const { return transport->size(); }
};

int Ok(const Rank& r, const std::string& what) {
  printf("rank %d ok %s\n", r.id(), what.c_str());
  fflush(stdout);
  return 0;
}

int Fail(int rank, const std::string& what) {
  printf("rank %d FAILED: %s\n", rank, what.c_str());
  fflush(stdout);
  return 1;
}

std::vector<std::byte> Word(uint64_t value) {
  std::vector<std::byte> frame(sizeof(value));
  std::memcpy(frame.data(), &value, sizeof(value));
  return frame;
}

uint64_t WordOf(Bytes frame) {
  uint64_t value = ~uint64_t{0};
  if (frame.size() == sizeof(value)) std::memcpy(&value, frame.data(), sizeof(value));
  return value;
}

// Sends random frames to each peer in `peers`, keeping to the limit in flight, and takes theirs, until `goal`
// frames have gone each way since the beginning.
Status Exchange(Rank* r, const std::vector<int>& peers, uint64_t goal, std::vector<uint64_t>* sent,
                std::vector<uint64_t>* received) {
  std::mt19937_64 random(static_cast<uint64_t>(r->id()) + 77);
  Status status;
  const auto take = [&](int peer, Bytes frame) {
    uint64_t& next = (*received)[static_cast<size_t>(peer)];
    if (status.ok() && !CheckFrame(frame, next)) {
      status =
          Status::Internal("frame " + std::to_string(next) + " from " + std::to_string(peer) + " is wrong");
    }
    ++next;
  };
  const TimeNs limit = MonotonicNow() + 40 * kSecond;
  for (;;) {
    bool all_sent = true, all_received = true;
    for (int p : peers) {
      uint64_t& next = (*sent)[static_cast<size_t>(p)];
      for (int burst = 0; burst < 8 && next < goal; ++burst) {
        if (r->transport->InFlight(p) + kMaxFrameBytes > kMaxInFlightBytes) break;
        r->transport->Send(p, MakeFrame(next++, RandomSize(&random), &random));
      }
      all_sent &= next == goal;
      all_received &= (*received)[static_cast<size_t>(p)] >= goal;
    }
    if (all_sent) {
      if (all_received || !status.ok()) return status;
      Turn(r->transport.get(), r->epoll, take);
    } else {
      r->transport->Poll(take);
    }
    if (MonotonicNow() > limit) {
      std::string where;
      for (int p : peers) {
        where += " peer " + std::to_string(p) + ": sent " + std::to_string((*sent)[static_cast<size_t>(p)]) +
                 ", received " + std::to_string((*received)[static_cast<size_t>(p)]);
      }
      return Status::Timeout("exchange stalled:" + where);
    }
  }
}

std::vector<int> Others(const Rank& r, int except = -1) {
  std::vector<int> out;
  for (int p = 0; p < r.size(); ++p) {
    if (p != r.id() && p != except) out.push_back(p);
  }
  return out;
}

int AllToAll() {
  Rank r;
  if (const Status s = r.Join(); !s.ok()) return Fail(-1, s.message());
  if (r.hosts.size() != (r.id() == 0 ? static_cast<size_t>(r.size()) : 0))
    return Fail(r.id(), "the hosts of the ranks are not known");
  std::vector<uint64_t> sent(static_cast<size_t>(r.size())), received(sent);
  if (const Status s = Exchange(&r, Others(r), 400, &sent, &received); !s.ok())
    return Fail(r.id(), s.message());
  if (!r.transport->TakeClosedPeers().empty()) return Fail(r.id(), "a peer closed");
  r.transport->Shutdown(true);
  const std::string late = "all-to-all, late frames: " + std::to_string(late_frames);
  return late_frames <= 3 ? Ok(r, late) : Fail(r.id(), late);
}

// After some traffic nobody speaks: sleeping must cost next to nothing.
int Idle() {
  Rank r;
  if (const Status s = r.Join(); !s.ok()) return Fail(-1, s.message());
  std::vector<uint64_t> sent(static_cast<size_t>(r.size())), received(sent);
  if (const Status s = Exchange(&r, Others(r), 20, &sent, &received); !s.ok())
    return Fail(r.id(), s.message());
  const auto nothing = [](int, Bytes) {};
  const TimeNs settle = MonotonicNow() + kSecond;
  while (MonotonicNow() < settle) Turn(r.transport.get(), r.epoll, nothing);
  const TimeNs begin = MonotonicNow(), cpu = CpuTime();
  while (MonotonicNow() < begin + 2 * kSecond) Turn(r.transport.get(), r.epoll, nothing);
  const double share = static_cast<double>(CpuTime() - cpu) / static_cast<double>(MonotonicNow() - begin);
  char text[64];
  snprintf(text, sizeof(text), "idle %.3f %%", 100 * share);
  r.transport->Shutdown(true);
  return share < 0.01 ? Ok(r, text) : Fail(r.id(), text);
}

// Rank 0 <-> 1: half of a round trip, when both sleep between messages and when both spin.
int Latency() {
  Rank r;
  if (const Status s = r.Join(); !s.ok()) return Fail(-1, s.message());
  if (r.id() > 1) {
    r.transport->Shutdown(true);
    return Ok(r, "bystander");
  }
  const int peer = 1 - r.id();
  uint64_t next = 0;
  const auto take = [&](int, Bytes frame) { next = WordOf(frame) + 1; };
  std::vector<double> asleep, spinning;
  constexpr uint64_t kWarm = 600, kRounds = 2000;
  for (uint64_t i = 0; i < 2 * kRounds; ++i) {
    const bool sleep = i < kRounds;
    if (sleep && r.id() == 0) usleep(300);  // let the other side fall asleep
    const TimeNs begin = MonotonicNow();
    if (r.id() == 0) r.transport->Send(peer, Word(i));
    while (next != i + 1) {
      if (sleep)
        Turn(r.transport.get(), r.epoll, take);
      else
        r.transport->Poll(take);
      if (MonotonicNow() - begin > 5 * kSecond) return Fail(r.id(), "ping-pong stalled");
    }
    if (r.id() == 1) r.transport->Send(peer, Word(i));
    if (i % kRounds >= kWarm)
      (sleep ? asleep : spinning).push_back(static_cast<double>(MonotonicNow() - begin) / 2e3);
  }
  char text[200] = "latency";
  if (r.id() == 0) {
    std::sort(asleep.begin(), asleep.end());
    std::sort(spinning.begin(), spinning.end());
    snprintf(text, sizeof(text), "latency one way us: asleep p50 %.1f p90 %.1f, spinning p50 %.1f p90 %.1f",
             asleep[asleep.size() / 2], asleep[asleep.size() * 9 / 10], spinning[spinning.size() / 2],
             spinning[spinning.size() * 9 / 10]);
    // The safety timeout is 100 ms: a median near it would mean that the sockets do not wake us.
    if (asleep[asleep.size() / 2] > 5000) return Fail(0, text);
  }
  if (late_frames > 3) return Fail(r.id(), "late frames: " + std::to_string(late_frames));
  r.transport->Shutdown(true);
  return Ok(r, text);
}

// The last rank is killed in the middle of traffic; the others must go on, with and without having dropped
// it.
int Death() {
  Rank r;
  if (const Status s = r.Join(); !s.ok()) return Fail(-1, s.message());
  const int victim = r.size() - 1;
  std::vector<uint64_t> sent(static_cast<size_t>(r.size())), received(sent);
  if (const Status s = Exchange(&r, Others(r), 20, &sent, &received); !s.ok())
    return Fail(r.id(), s.message());
  if (r.id() == victim) {
    std::mt19937_64 random(1);
    for (int p : Others(r)) {
      for (int i = 0; i < 4; ++i)
        r.transport->Send(p, MakeFrame(sent[static_cast<size_t>(p)]++, kMaxFrameBytes, &random));
    }
    kill(getpid(), SIGKILL);
  }
  // Before anybody knows: sends to the dead neither fail nor block, and what is in flight stays bounded.
  std::mt19937_64 random(2);
  const TimeNs begin_of_silence = MonotonicNow(), until = begin_of_silence + kSecond / 2;
  TimeNs seen_closed = 0;
  while (MonotonicNow() < until) {
    for (const int peer : r.transport->TakeClosedPeers()) {
      if (peer != victim || r.id() != 0) return Fail(r.id(), "closed: peer " + std::to_string(peer));
      seen_closed = MonotonicNow();
    }
    if (r.transport->InFlight(victim) + kMaxFrameBytes <= kMaxInFlightBytes) {
      r.transport->Send(victim, MakeFrame(sent.back()++, RandomSize(&random), &random));
    }
    Turn(
        r.transport.get(), r.epoll, [&](int peer, Bytes) { received[static_cast<size_t>(peer)] += 1; }, 5);
  }
  if (r.id() == 0 && seen_closed == 0)
    return Fail(0, "the head has not seen the connection of the dead close");
  const size_t stuck = r.transport->InFlight(victim);
  r.transport->DropPeer(victim);
  r.transport->Send(victim, MakeFrame(0, 100, &random));
  if (r.transport->InFlight(victim) != 0) return Fail(r.id(), "a dropped peer has bytes in flight");
  if (const Status s = Exchange(&r, Others(r, victim), 220, &sent, &received); !s.ok()) {
    return Fail(r.id(), s.message());
  }
  const auto nothing = [](int, Bytes) {};
  const TimeNs settle = MonotonicNow() + kSecond;
  while (MonotonicNow() < settle) Turn(r.transport.get(), r.epoll, nothing);
  const TimeNs begin = MonotonicNow(), cpu = CpuTime();
  while (MonotonicNow() < begin + kSecond) Turn(r.transport.get(), r.epoll, nothing);
  const TimeNs idle = CpuTime() - cpu;
  const TimeNs down = MonotonicNow();
  r.transport->Shutdown(false);
  char text[200];
  snprintf(text, sizeof(text), "survived; seen %.0f ms, %zu bytes stuck, idle %.2f %%, shutdown %.0f ms",
           r.id() == 0 ? static_cast<double>(seen_closed - begin_of_silence) / 1e6 : 0, stuck,
           static_cast<double>(idle) / 1e7, static_cast<double>(MonotonicNow() - down) / 1e6);
  if (stuck > kMaxInFlightBytes || idle > kSecond / 50) return Fail(r.id(), text);
  Ok(r, text);
  _exit(0);  // MPI_Finalize is not called with a dead rank
}

int Mismatch() {
  Rank r;
  const char* rank = getenv("OMPI_COMM_WORLD_RANK");
  if (rank == nullptr) rank = getenv("PMI_RANK");
  const Status s = r.Join(rank != nullptr && atoi(rank) == 1 ? "9.9.9" : "1.2.3");
  const bool named = !s.ok() && s.message().find("rank 1 ") != std::string::npos &&
                     s.message().find("9.9.9") != std::string::npos &&
                     s.message().find("1.2.3") != std::string::npos;
  printf("rank %s %s\n", rank, named ? "ok refused" : ("FAILED: " + s.message()).c_str());
  fflush(stdout);
  _exit(0);
}

}  // namespace

int RunScenario(const std::string& name) {
  if (name == "alltoall") return AllToAll();
  if (name == "idle") return Idle();
  if (name == "latency") return Latency();
  if (name == "death") return Death();
  if (name == "mismatch") return Mismatch();
  return Fail(-1, "unknown scenario " + name);
}

}  // namespace rmpi
