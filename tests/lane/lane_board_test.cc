// SPDX-License-Identifier: Apache-2.0
// Slots, generations, claims, recycling of lanes, and boards or peers that are broken.
#include <sys/mman.h>
#include <sys/stat.h>

#include <random>

#include "runtime/lane/claim_writer.h"
#include "tests/lane/lane_test_util.h"

namespace rmpi::lane {
namespace {

size_t Ignore(Port* port) {
  return port->Drain([](uint16_t, uint32_t, Bytes) {}, 1 << 20);
}

TEST(LaneBoardTest, MapRefusesWhatIsNoBoard) {
  std::unique_ptr<Board> board;
  UniqueFd fd(memfd_create("x", MFD_CLOEXEC));
  EXPECT_EQ(Board::Map(fd.get(), &board).code(), StatusCode::kInvalid);
  ASSERT_EQ(ftruncate(fd.get(), 1 << 20), 0);
  EXPECT_EQ(Board::Map(fd.get(), &board).code(), StatusCode::kInvalid);
  // A board's header in front of too little.
  TestBoard t;
  BoardHeader header;
  ASSERT_EQ(pread(t.fd.get(), &header, sizeof(header), 0), static_cast<ssize_t>(sizeof(header)));
  ASSERT_EQ(pwrite(fd.get(), &header, sizeof(header), 0), static_cast<ssize_t>(sizeof(header)));
  EXPECT_EQ(Board::Map(fd.get(), &board).code(), StatusCode::kInvalid);
  header.version = kBoardVersion + 1;
  ASSERT_EQ(pwrite(t.fd.get(), &header, sizeof(header), 0), static_cast<ssize_t>(sizeof(header)));
  const Status s = Board::Map(t.fd.get(), &board);
  EXPECT_NE(s.message().find("different builds"), std::string::npos) << s.message();
  EXPECT_EQ(board, nullptr);
}

TEST(LaneBoardTest, CreateChecksOptionsAndSeals) {
  UniqueFd fd;
  EXPECT_EQ(Board::Create({.slots = 1}, &fd).code(), StatusCode::kInvalid);
  EXPECT_EQ(Board::Create({.ring_bytes = 5000}, &fd).code(), StatusCode::kInvalid);
  TestBoard t;
  EXPECT_NE(ftruncate(t.fd.get(), 4096), 0) << "a peer could make our reads fault";
  struct stat st;
  ASSERT_EQ(fstat(t.fd.get(), &st), 0);
  EXPECT_LT(st.st_blocks * 512, 256 << 10) << "an unused board costs next to nothing";
}

TEST(LaneBoardTest, GenerationsNeverRepeat) {
  TestBoard t({.slots = 4, .ring_bytes = 4096, .max_lanes = 8});
  uint32_t last = 0;
  for (int i = 0; i < 100; ++i) {
    const Peer p = t.Open();
    EXPECT_EQ(p.slot, 1);
    EXPECT_GT(p.generation, last);
    last = p.generation;
    EXPECT_TRUE(t.board->Live(p.slot, p.generation));
    EXPECT_FALSE(t.board->Live(p.slot, p.generation - 1));
    EXPECT_EQ(t.board->pid(p.slot), getpid());
    t.board->MarkDead(p.slot);
    EXPECT_EQ(t.board->state(p.slot), SlotState::kDead);
    EXPECT_FALSE(t.board->Live(p.slot, p.generation));
    t.board->CloseSlot(p.slot);
    EXPECT_EQ(t.board->state(p.slot), SlotState::kFree);
  }
}

TEST(LaneBoardTest, FullBoardSaysSo) {
  TestBoard t({.slots = 4, .ring_bytes = 4096, .max_lanes = 8});
  for (int i = 0; i < 3; ++i) t.Open();
  Peer p;
  EXPECT_EQ(t.board->OpenSlot(1, &p.slot, &p.generation).code(), StatusCode::kUnavailable);
}

TEST(LaneBoardTest, ClaimsAreDroppedInAnyOrder) {
  TestBoard t;
  const Peer p = t.Open();
  const auto claim = [](uint64_t n) {
    Claim c;
    c.task.owner = {1, 2, 0, 3};
    c.task.sequence = n;
    c.attempt = static_cast<uint32_t>(n * 7);
    return c;
  };
  ClaimWriter writer(t.board.get(), p.slot);
  std::vector<uint32_t> entries;
  while (const auto entry = writer.Put(claim(entries.size()))) entries.push_back(*entry);
  EXPECT_EQ(entries.size(), kClaimCapacity);
  for (size_t n = 0; n < entries.size(); n += 2) writer.Drop(entries[n]);
  std::vector<Claim> open = t.board->ReadClaims(p.slot);
  ASSERT_EQ(open.size(), entries.size() / 2);
  std::sort(open.begin(), open.end(),
            [](const Claim& a, const Claim& b) { return a.task.sequence < b.task.sequence; });
  for (size_t i = 0; i < open.size(); ++i) {
    EXPECT_EQ(open[i].task, claim(2 * i + 1).task);
    EXPECT_EQ(open[i].attempt, claim(2 * i + 1).attempt);
  }
  EXPECT_TRUE(writer.Put(claim(9999)));
  EXPECT_EQ(t.board->ReadClaims(p.slot).size(), open.size() + 1);
  t.board->CloseSlot(p.slot);
  EXPECT_EQ(t.Open().slot, p.slot);
  EXPECT_TRUE(t.board->ReadClaims(p.slot).empty()) << "a new process starts without claims";
}

TEST(LaneBoardTest, TheDeadAreReadToTheEndAndNotWrittenTo) {
  TestBoard t({.slots = 8, .ring_bytes = 4096, .max_lanes = 64});
  const Peer a = t.Open(), b = t.Open();
  auto dying = t.MakePort(a), reader = t.MakePort(b);
  for (int i = 0; i < 10; ++i) SendString(dying.get(), b.slot, b.generation, "published");
  dying->Flush();
  SendString(dying.get(), b.slot, b.generation, "not flushed");
  t.board->MarkDead(a.slot);
  EXPECT_FALSE(SendString(reader.get(), a.slot, a.generation, "too late"));
  EXPECT_FALSE(reader->DrainedFrom(a.slot, a.generation));
  EXPECT_EQ(reader->Drain([](uint16_t, uint32_t, Bytes m) { EXPECT_EQ(AsString(m), "published"); }, 4), 4u);
  EXPECT_FALSE(reader->DrainedFrom(a.slot, a.generation));
  EXPECT_EQ(Ignore(reader.get()), 6u);
  EXPECT_TRUE(reader->DrainedFrom(a.slot, a.generation));
  EXPECT_FALSE(SendString(reader.get(), a.slot, a.generation + 1, "nobody yet"));
}

// A tail without its dirty bit (the sender died between the two) is found after MarkDead.
TEST(LaneBoardTest, MarkDeadFindsMailThatNobodyAnnounced) {
  TestBoard t({.slots = 8, .ring_bytes = 4096, .max_lanes = 64});
  const Peer a = t.Open(), b = t.Open();
  auto dying = t.MakePort(a), reader = t.MakePort(b);
  SendString(dying.get(), b.slot, b.generation, "one");
  dying->Flush();
  ASSERT_EQ(Ignore(reader.get()), 1u);
  SendString(dying.get(), b.slot, b.generation, "one");  // same size: the next record ends twice as far
  LaneEnds& ends = LaneTestAccess::EndsOf(t.board.get(), a.slot, b.slot);
  ends.tail.store(ends.tail.load() * 2);
  EXPECT_FALSE(reader->HasMail());
  t.board->MarkDead(a.slot);
  EXPECT_TRUE(reader->HasMail());
  EXPECT_EQ(Ignore(reader.get()), 1u);
}

// The slot of a dead process waits for the peers that still hold ends of its lanes; its successor sees
// nothing old.
TEST(LaneBoardTest, SlotWaitsForItsPeers) {
  TestBoard t({.slots = 8, .ring_bytes = 4096, .max_lanes = 64});
  const Peer a = t.Open(), b = t.Open();
  auto dying = t.MakePort(a), peer = t.MakePort(b);
  SendString(dying.get(), b.slot, b.generation, "unread");
  SendString(peer.get(), a.slot, a.generation, "unread too");
  dying->Flush();
  peer->Flush();
  t.board->MarkDead(a.slot);
  t.board->CloseSlot(a.slot);
  EXPECT_EQ(t.board->state(a.slot), SlotState::kDead);
  EXPECT_EQ(t.Open().slot, 3) << "slot 1 is not free yet";
  peer->ForgetPeer(a.slot, a.generation);
  EXPECT_TRUE(peer->DrainedFrom(a.slot, a.generation));
  EXPECT_EQ(t.board->lanes_in_use(), 0u);
  const Peer heir = t.Open();
  EXPECT_EQ(heir.slot, a.slot);
  auto port = t.MakePort(heir);
  EXPECT_EQ(Ignore(port.get()), 0u);
  EXPECT_FALSE(SendString(peer.get(), a.slot, a.generation, "to the dead"));
  ASSERT_TRUE(SendString(peer.get(), heir.slot, heir.generation, "to the heir"));
  peer->Flush();
  EXPECT_EQ(port->Drain([](uint16_t, uint32_t, Bytes m) { EXPECT_EQ(AsString(m), "to the heir"); }, 9), 1u);
}

size_t Resident(const TestBoard& t) {
  struct stat st;
  EXPECT_EQ(fstat(t.fd.get(), &st), 0);
  return static_cast<size_t>(st.st_blocks) * 512;
}

TEST(LaneBoardTest, ThousandGenerationsDoNotGrow) {
  TestBoard t({.slots = 16, .ring_bytes = 16384, .max_lanes = 256});
  auto raylet = t.MakePort({0, 1});
  const Peer d = t.Open();
  auto driver = t.MakePort(d);
  size_t resident = 0;
  for (int generation = 0; generation < 1000; ++generation) {
    const Peer w1 = t.Open(), w2 = t.Open();
    auto p1 = t.MakePort(w1), p2 = t.MakePort(w2);
    Port* ports[] = {raylet.get(), driver.get(), p1.get(), p2.get()};
    for (Port* from : ports) {
      for (Port* to : ports) {
        if (from == to) continue;
        for (int i = 0; i < 40; ++i)
          ASSERT_TRUE(SendString(from, to->slot(), to->generation(), std::string(500, 'x')));
      }
      from->Flush();
    }
    for (int i = 0; i < 10; ++i) {
      for (Port* p : ports) Ignore(p), p->Flush();
    }
    for (const Peer& w : {w1, w2}) {
      t.board->MarkDead(w.slot);
      Ignore(raylet.get());
      Ignore(driver.get());
      ASSERT_TRUE(driver->DrainedFrom(w.slot, w.generation));
      t.board->CloseSlot(w.slot);
      if (generation % 2) p2->ForgetPeer(w.slot, w.generation);  // else it dies with its ends in hand
    }
    ASSERT_EQ(t.board->lanes_in_use(), 2u) << "generation " << generation;  // raylet and driver
    if (generation == 10) resident = Resident(t);
  }
  EXPECT_LE(t.board->lanes_touched(), 12u);
  EXPECT_EQ(Resident(t), resident);
}

// More pairs than lanes: messages wait for a lane, and arrive when one comes free.
TEST(LaneBoardTest, PoolOfLanesRunsDry) {
  TestBoard t({.slots = 8, .ring_bytes = 4096, .max_lanes = 2});
  const Peer s = t.Open(), a = t.Open(), b = t.Open(), c = t.Open();
  auto sender = t.MakePort(s), pa = t.MakePort(a), pb = t.MakePort(b), pc = t.MakePort(c);
  for (const Peer& p : {a, b, c}) ASSERT_TRUE(SendString(sender.get(), p.slot, p.generation, "m"));
  sender->Flush();
  EXPECT_EQ(Ignore(pa.get()) + Ignore(pb.get()) + Ignore(pc.get()), 2u);
  EXPECT_GT(sender->total_backlog_bytes(), 0u);
  EXPECT_EQ(sender->Sleep(Sleeper::kMain, MonotonicNow() + 5 * kSecond), Wake::kKicked)
      << "comes back to try again";
  t.board->MarkDead(a.slot);
  t.board->CloseSlot(a.slot);
  Ignore(sender.get());  // notices the death, releases its end
  sender->Flush();
  EXPECT_EQ(Ignore(pc.get()), 1u);
  EXPECT_EQ(sender->total_backlog_bytes(), 0u);
}

TEST(LaneBoardTest, GarbageInALaneCostsThatLaneOnly) {
  std::mt19937 random(1);
  size_t corrupt = 0;
  for (int round = 0; round < 2000; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    TestBoard t({.slots = 8, .ring_bytes = 4096, .max_lanes = 8});
    const Peer bad = t.Open(), good = t.Open(), r = t.Open();
    auto p_bad = t.MakePort(bad), p_good = t.MakePort(good), reader = t.MakePort(r);
    for (int i = 0; i < 20; ++i)
      SendString(p_bad.get(), r.slot, r.generation, std::string(random() % 150, 'b'));
    p_bad->Flush();
    std::byte* ring = LaneTestAccess::RingOf(t.board.get(), bad.slot, r.slot);
    LaneEnds& ends = LaneTestAccess::EndsOf(t.board.get(), bad.slot, r.slot);
    for (int i = 0; i < 40; ++i) {
      uint32_t word = random();
      if (random() % 2) word = random() % 200 << 3 | random() % 6;  // looks like a header
      std::memcpy(ring + random() % 4096 / 4 * 4, &word, sizeof(word));
    }
    if (round % 4 == 0) ends.tail.store(random());
    if (round % 4 == 1) ends.tail.store(random() % 4096 & ~7u);
    SendString(p_good.get(), r.slot, r.generation, "good");
    p_good->Flush();
    bool seen_good = false;
    reader->Drain(
        [&](uint16_t src, uint32_t, Bytes m) { seen_good |= src == good.slot && AsString(m) == "good"; },
        1000);
    EXPECT_TRUE(seen_good);
    EXPECT_FALSE(reader->HasMail());
    if (const auto peer = reader->TakeCorruptPeer()) {
      ++corrupt;
      EXPECT_EQ(peer->slot, bad.slot);
      EXPECT_FALSE(reader->TakeCorruptPeer());
      t.board->MarkDead(bad.slot);
      EXPECT_TRUE(reader->DrainedFrom(bad.slot, bad.generation));
      reader->ForgetPeer(bad.slot, bad.generation);
      t.board->CloseSlot(bad.slot);
      EXPECT_EQ(t.board->state(bad.slot), SlotState::kFree);
    }
  }
  EXPECT_GT(corrupt, 1000u);
}

// A receiver that claims to have read what was never sent: the sender goes to its log and damages nothing.
TEST(LaneBoardTest, GarbageHeadCountsAsFull) {
  TestBoard t({.slots = 8, .ring_bytes = 4096, .max_lanes = 8});
  const Peer a = t.Open(), b = t.Open();
  auto sender = t.MakePort(a), receiver = t.MakePort(b);
  SendString(sender.get(), b.slot, b.generation, "x");
  sender->Flush();
  LaneTestAccess::EndsOf(t.board.get(), a.slot, b.slot).head.store(1 << 20);
  for (int i = 0; i < 100; ++i)
    ASSERT_TRUE(SendString(sender.get(), b.slot, b.generation, std::string(100, 'y')));
  sender->Flush();
  EXPECT_GT(sender->backlog_bytes(b.slot), 5000u);
  EXPECT_LE(Ignore(receiver.get()), 40u);
}

}  // namespace
}  // namespace rmpi::lane
