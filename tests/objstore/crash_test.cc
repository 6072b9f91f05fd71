// SPDX-License-Identifier: Apache-2.0
// Clients killed by SIGKILL at any instruction of create, fill, seal and pin: afterwards the raylet, which
// saw only the messages sent before, has every byte and every pin back.
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <vector>

#include "tests/objstore/store_fixture.h"

namespace rmpi::objstore {
namespace {

struct Message {
  enum Kind : uint32_t { kLease, kReturn, kSealed, kDone } kind;
  uint32_t attempt;
  ObjectId id;
  Locator locator;
  Range range;
};

// The client's life: objects of all sizes as fast as it can, announced after Seal, some pinned and kept so.
[[noreturn]] void ClientMain(Arena* arena, PinTable* pins, uint16_t slot, int raylet, uint32_t seed,
                             int objects) {
  Client client(arena, pins, kNode, slot);
  std::mt19937 random(seed);
  for (int n = 0; n < objects; ++n) {
    const uint64_t size = random() % 10 == 0 ? random() % 2'000'000 : random() % 5000;
    const ObjectId id = MakeId(static_cast<uint64_t>(n), slot);
    Locator locator;
    uint64_t extent_bytes = 0;
    while (client.Create(id, 0, size, &locator, &extent_bytes) != Client::CreateResult::kOk) {
      for (const Range& r : client.TakeRetired()) {
        const Message m{Message::kReturn, 0, id, {}, r};
        if (send(raylet, &m, sizeof(m), 0) < 0) _exit(2);
      }
      Message m{Message::kLease, 0, id, {}, {0, extent_bytes}};
      if (send(raylet, &m, sizeof(m), 0) < 0 || recv(raylet, &m, sizeof(m), 0) <= 0) _exit(3);
      if (m.range.bytes == 0) {
        client.ExtentRefused();
      } else {
        client.AddExtent(m.range);
      }
    }
    std::memset(arena->data(locator.offset), n, size);
    if (random() % 10 == 0) {
      client.Abort(locator);
      continue;
    }
    client.Seal(locator);
    const Message m{Message::kSealed, 0, id, locator, {}};
    if (send(raylet, &m, sizeof(m), 0) < 0) _exit(4);
    if (random() % 2 == 0 && client.Pin(locator, id, 0) == Client::PinResult::kPinned && random() % 2 == 0) {
      client.Unpin(locator);
    }
  }
  const Message m{Message::kDone, 0, {}, {}, {}};
  _exit(send(raylet, &m, sizeof(m), 0) < 0 ? 5 : 0);
}

class CrashTest : public StoreTest {
 protected:
  // Serves one client until its end of the socket closes. Kills it after `kill_after` messages, if not
  // negative, and a random moment.
  void Serve(int fd, pid_t pid, uint16_t slot, int kill_after, uint32_t pause_us) {
    std::vector<ObjectId> sealed;
    Message m;
    for (int seen = 0; recv(fd, &m, sizeof(m), 0) == sizeof(m); ++seen) {
      if (seen == kill_after) {
        if (pause_us > 0) usleep(pause_us);
        kill(pid, SIGKILL);
      }
      switch (m.kind) {
        case Message::kLease: {
          m.range = store_->LeaseExtent(slot, 1, m.range.bytes).value_or(Range{});
          (void)!send(fd, &m, sizeof(m), MSG_NOSIGNAL);
          break;
        }
        case Message::kReturn:
          ASSERT_TRUE(store_->ReturnExtent(slot, 1, m.range));
          break;
        case Message::kSealed:
          ASSERT_TRUE(store_->OnSealed(slot, 1, m.id, m.attempt, m.locator, m.id.owner()));
          sealed.push_back(m.id);
          while (sealed.size() > 5) {  // the owner frees as it goes
            store_->Free(sealed.front(), 0);
            sealed.erase(sealed.begin());
          }
          break;
        case Message::kDone:
          finished_++;
          break;
      }
    }
  }

  void Life(int kill_after, uint32_t seed, int objects) {
    const uint16_t slot = static_cast<uint16_t>(1 + seed % 6);
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    const pid_t pid = fork();
    if (pid == 0) {
      close(ends[0]);
      ClientMain(arena_.get(), pins_.get(), slot, ends[1], seed, objects);
    }
    close(ends[1]);
    Serve(ends[0], pid, slot, kill_after, seed % 4 == 0 ? 0 : seed * 37 % 400);
    close(ends[0]);
    int status = 0;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    ASSERT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0) << WEXITSTATUS(status);
    killed_ += WIFSIGNALED(status);
    store_->ClientGone(slot, 1);
    store_->OwnerGone(MakeId(0, slot).owner());
    ASSERT_EQ(store_->used_bytes(), 0u) << "seed " << seed;
    ASSERT_EQ(store_->GetStats().largest_free_bytes, arena_->size());
    ASSERT_FALSE(store_->sweep_needed());
    ASSERT_EQ(pins_->Live(slot), 0u);
  }

  int killed_ = 0, finished_ = 0;
};

TEST_F(CrashTest, RepairAfterSigkillIsComplete) {
  Start(48 << 20);
  for (uint32_t seed = 1; seed <= 120; ++seed) {
    Life(static_cast<int>(seed * 7 % 90), seed, 400);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(killed_, 80);
}

TEST_F(CrashTest, ACleanExitLeavesNothingEither) {
  Start(48 << 20);
  for (uint32_t seed = 1; seed <= 5; ++seed) {
    Life(-1, seed, 200);
    if (HasFatalFailure()) return;
  }
  EXPECT_EQ(finished_, 5);
}

}  // namespace
}  // namespace rmpi::objstore
