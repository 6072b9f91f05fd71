// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/world.h"

#include <algorithm>
#include <cstdio>

#include "tests/sim/process.h"
#include "tests/sim/raylet.h"

namespace rmpi::sim {
namespace {

constexpr TimeNs kLimit = 3600 * kSecond;
constexpr size_t kTraceLength = 40;
constexpr uint64_t kCheckEvery = 512;         // events
constexpr uint64_t kMostEvents = 20'000'000;  // a broken protocol may run in circles

std::string Seconds(TimeNs t) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6f", static_cast<double>(t) / 1e9);
  return text;
}

}  // namespace

World::World(uint64_t seed, bool verbose, const Limits& limits)
    : seed_(seed), limits_(limits), verbose_(verbose), rng_(seed) {}
World::World(uint32_t nodes, uint32_t many_actors) : World(1, false) {
  features_.nodes = features_.of_launch = nodes;
  features_.cpus.assign(nodes, 2);
  features_.gpus.assign(nodes, 0);
  features_.many_actors = many_actors;
}
World::~World() = default;

void World::ChooseFeatures() {
  Features& f = features_;
  if (f.many_actors != 0) return;
  f.nodes = rng_.Percent(40) ? 1 : static_cast<uint32_t>(2 + rng_.Below(3));
  for (uint32_t i = 0; i < f.nodes; ++i) f.cpus.push_back(static_cast<uint32_t>(1 + rng_.Below(4)));
  f.tasks = static_cast<uint32_t>(20 + rng_.Below(rng_.Percent(20) ? 600 : 200));
  f.kills = rng_.Percent(45);
  f.node_kills = f.nodes > 1 && rng_.Percent(20);
  f.cancels = rng_.Percent(50);
  f.suspends = rng_.Percent(30);
  f.lossy_backlog = f.kills && rng_.Percent(70);
  f.start_failures = rng_.Percent(15);
  f.latency = static_cast<int>(rng_.Below(3));
  f.actors = seed_ % 3 == 2;
  f.job_suspends = rng_.Percent(20);
  f.jitter = seed_ % 5 == 0;
  f.slow_links = seed_ % 4 < 3;
  f.streams = seed_ % 5 == 0 || seed_ % 5 == 4;
  f.guests = seed_ % 6 == 5 ? static_cast<uint32_t>(1 + seed_ / 6 % 3) : 0;
  f.gpus.resize(f.nodes);
  if (seed_ % 4 == 1) {
    for (uint32_t& n : f.gpus) n = static_cast<uint32_t>(rng_.Below(4));
  }
  // Recovery: a chance of its own, so that the other seeds stay what they are.
  if (Rng rng(seed_ + 7919); rng.Percent(40) && f.nodes > 1) {
    f.node_kills = true;
    f.more_node_kills = static_cast<uint32_t>(rng.Below(f.nodes - 1));
    f.stored = 30 + rng.Below(65);
    if (rng.Percent(20)) f.lineage_cap = 500 + rng.Below(20000);
    if (rng.Percent(40)) f.streams = true, f.stream_steps = 50;
  }
  f.groups = seed_ % 7 == 3 || seed_ % 7 == 5;
  if (Rng rng(seed_ + 104729); rng.Percent(30)) f.late_nodes = !f.groups;
  if (Rng rng(seed_ + 15485863); f.nodes > 1 && rng.Percent(30))
    f.drains = static_cast<uint32_t>(1 + rng.Below(f.nodes - 1));
  f.shared_disk = Rng(seed_ + 32452843).Percent(40);
  f.tasks = std::min(f.tasks, limits_.tasks);
  f.nodes = std::min(f.nodes, limits_.nodes);
  f.node_kills &= f.nodes > 1;
  f.drains = limits_.without.contains("drains") ? 0 : std::min(f.drains, f.nodes - 1);
  f.gpus.resize(f.nodes);
  for (const auto& [name, on] : Switches(&f)) *on &= !limits_.without.contains(name);
  if (!f.actors) f.guests = 0;
  f.heartbeat_tree = f.nodes > 2 && seed_ % 3 != 1;
  f.of_launch = f.late_nodes ? (f.nodes + 1) / 2 : f.drains != 0 && seed_ % 2 == 0 ? 1 : f.nodes;
}

std::vector<std::pair<const char*, bool*>> Switches(Features* f) {
  return {{"kills", &f->kills},
          {"node-kills", &f->node_kills},
          {"cancels", &f->cancels},
          {"suspends", &f->suspends},
          {"job-suspends", &f->job_suspends},
          {"lossy-backlog", &f->lossy_backlog},
          {"start-failures", &f->start_failures},
          {"jitter", &f->jitter},
          {"slow-links", &f->slow_links},
          {"late-nodes", &f->late_nodes},
          {"actors", &f->actors},
          {"streams", &f->streams},
          {"groups", &f->groups},
          {"shared-disk", &f->shared_disk}};
}

void World::StartRaylet(uint32_t node) {
  sched::Amounts total{{"CPU", features_.cpus[node - 1] * sched::kResourceUnit}};
  if (const uint32_t gpus = features_.gpus[node - 1]; gpus != 0)
    total.emplace_back("GPU", gpus * sched::kResourceUnit);
  if (node == features_.nodes) total.emplace_back("disk", sched::kResourceUnit);
  raylets_[node] = std::make_unique<SimRaylet>(this, node, total, features_.of_launch);
}

void World::Join(uint32_t node) {
  NodeRecord record = raylets_.at(node)->Record();
  if (node > features_.of_launch) {
    record.rank = -record.rank;
    raylets_.at(node)->SetJoined();
  }
  raylets_.at(kHeadNode)->gcs()->OnJoin(record, now_);
  for (auto& [other, raylet] : raylets_) {
    if (other == node) continue;
    raylet->Meet(*raylets_.at(node));
    raylets_.at(node)->Meet(*raylet);
  }
}

void World::Build() {
  const uint32_t of_launch = features_.of_launch;
  for (uint32_t node = 1; node <= of_launch; ++node) StartRaylet(node);
  for (uint32_t node = 1; node <= of_launch; ++node) Join(node);
  TimeNs at = 0;  // in their order: the head numbers them as they come
  for (uint32_t node = of_launch + 1; node <= features_.nodes; ++node) {
    at += features_.late_nodes ? static_cast<TimeNs>(rng_.Below(1500)) * kMillisecond : 0;
    After(at, [this, node] {
      StartRaylet(node);
      Join(node);
      raylets_.at(kHeadNode)->Poke();
    });
  }
  SimProcess* driver = AddProcess(raylets_.at(kHeadNode)->OpenSlot(), JobId{1}, true);
  StartJob(driver->self());
  driver->StartDriver(features_.tasks);
  if (verbose_) {
    std::printf(
        "seed %llu: %u nodes, %u tasks, kills %d, node kills %d, cancels %d, suspends %d, latency %d\n",
        static_cast<unsigned long long>(seed_), features_.nodes, features_.tasks, features_.kills,
        features_.node_kills, features_.cancels, features_.suspends, features_.latency);
  }
}

std::string World::Run() {
  ChooseFeatures();
  Build();
  ScheduleTrouble();
  ScheduleGuests();
  RunUntil([&] { return driver_done_; }, kLimit, "the driver's program");
  finishing_ = true;
  RunUntil([&] { return Quiet(); }, now_ + kLimit, "what the driver left behind");
  settled_ = true;
  KillDetached();
  RemoveGroups();
  RunUntil([&] { return Quiet(); }, now_ + kLimit, "the end of the detached actors");
  // Whatever executors kept goes; leases, idle workers and paced starts run out.
  ForEachProcess([](SimProcess* p) { p->DropKept(); });
  RunUntil([&] { return Quiet(); }, now_ + kLimit, "the last references");
  const TimeNs end = now_ + 20 * kSecond;
  RunUntil([&] { return now_ >= end; }, kNever, "");
  CheckReferences();
  CheckEmpty();
  return failure_.empty() ? "" : failure_ + "\n" + TraceText();
}

void World::RunUntil(const std::function<bool()>& done, TimeNs limit, const char* what) {
  while (!failed() && !done()) {
    if (events_.empty() && limit == kNever) return;
    if (events_.empty() || now_ > limit || steps_ > kMostEvents) {
      Fail(std::string(what) + " did not end (14):\n" + Describe());
      return;
    }
    // The function may push events: it is taken out first.
    std::function<void()> fn = std::move(const_cast<Event&>(events_.top()).fn);
    now_ = events_.top().at;
    events_.pop();
    fn();
    if (++steps_ % kCheckEvery == 0) CheckReferences();
    if (steps_ % 64 == 0) CheckGroups();
  }
}

void World::At(TimeNs when, std::function<void()> fn) {
  events_.push({std::max(when, now_), next_order_++, std::move(fn)});
}

// ---- links ------------------------------------------------------------------------------------------------

// What is told to three processes at once is known to the first long before it is known to the last: the
// longer, the more of what follows from it happens in between.
TimeNs World::Slowness(const Address& from, const Address& to) const {
  if (!features_.slow_links) return 0;
  Rng link(seed_ ^ std::hash<Address>()(from) ^ 31 * std::hash<Address>()(to));
  return link.Percent(25) ? static_cast<TimeNs>(link.Below(20)) * kMillisecond : 0;
}

// Between nodes that nobody touches no message is so late that its node looks dead.
TimeNs World::Delay(const Address& from, const Address& to) {
  const auto micro = static_cast<TimeNs>(1 + rng_.Below(30)) * kMicrosecond + Slowness(from, to);
  if (features_.jitter && rng_.Percent(50)) return static_cast<TimeNs>(rng_.Below(5000)) * kMicrosecond;
  if (features_.latency == 0 || rng_.Percent(90)) return micro;
  if (features_.latency == 1 || rng_.Percent(95)) return static_cast<TimeNs>(rng_.Below(5)) * kMillisecond;
  const bool link = from.node != to.node && !features_.node_kills;
  // Through another node there are twice as many links.
  return static_cast<TimeNs>(rng_.Below(!link ? 3000 : features_.heartbeat_tree ? 300 : 600)) * kMillisecond;
}

TimeNs World::CutUntil(const Address& from, const Address& to) const {
  if (from.node == to.node) return 0;
  const auto until = [&](uint32_t node) {
    const auto it = cut_.find(node);
    return it == cut_.end() ? 0 : it->second;
  };
  return std::max(until(from.node), until(to.node));
}

void World::Hop(const Address& from, const Address& to, const MessageHeader& header, Blob body) {
  const LinkKey key{from, to};
  Link& link = links_[key];
  link.packets.push_back({header, std::move(body)});
  ++in_flight_;
  link.last = std::max(link.last + 1, now_ + Delay(from, to));
  At(link.last, [this, key] { Deliver(key); });
}

size_t World::InFlight(const Address& from, const Address& to) const {
  const auto it = links_.find({from, to});
  return it == links_.end() ? 0 : it->second.packets.size();
}

void World::Deliver(const LinkKey& key) {
  Link& link = links_[key];
  if (link.packets.empty()) return;  // lost with its node
  if (const TimeNs healed = CutUntil(key.from, key.to); now_ < healed && healed != kNever) {
    At(healed, [this, key] { Deliver(key); });
    return;
  }
  const Packet packet = std::move(link.packets.front());
  link.packets.pop_front();
  --in_flight_;
  if (now_ < CutUntil(key.from, key.to)) return;
  Trace(packet);
  if (key.to.slot == kRayletSlot) {
    if (SimRaylet* r = RayletAt(key.to.node)) r->Arrive(packet);
  } else if (SimProcess* p = Live(key.to)) {
    p->Arrive(packet);
  }
}

// ---- inhabitants ------------------------------------------------------------------------------------------

SimProcess* World::Any(const Address& a) const {
  const auto it = processes_.find(a);
  return it == processes_.end() ? nullptr : it->second.get();
}
SimProcess* World::Live(const Address& a) const {
  SimProcess* p = Any(a);
  return p != nullptr && p->alive() ? p : nullptr;
}
SimRaylet* World::RayletAt(uint32_t node) const {
  const auto it = raylets_.find(node);
  return it == raylets_.end() ? nullptr : it->second.get();
}

SimProcess* World::AddProcess(const Address& a, JobId job, bool driver, uint8_t language) {
  auto& p = processes_[a];
  p = std::make_unique<SimProcess>(this, a, job, driver, language);
  return p.get();
}

void World::RemoveProcess(const Address& a) { processes_.erase(a); }

void World::ForEachProcess(const std::function<void(SimProcess*)>& fn) {
  std::vector<SimProcess*> all;
  for (auto& [a, p] : processes_) {
    if (p->alive()) all.push_back(p.get());
  }
  for (SimProcess* p : all) fn(p);
}

// Silence from now on; of what is on its way a tail is lost on each link.
void World::KillNode(uint32_t node) {
  ++deaths_;
  std::vector<LinkKey> keys;
  for (auto& [key, link] : links_) {
    if (key.from.node == node) keys.push_back(key);
  }
  std::sort(keys.begin(), keys.end(), [](const LinkKey& a, const LinkKey& b) {
    return a.from != b.from ? a.from < b.from : a.to < b.to;
  });
  for (const LinkKey& key : keys) {
    Link& link = links_[key];
    const size_t keep = key.to.node == node ? 0 : rng_.Below(link.packets.size() + 1);
    in_flight_ -= link.packets.size() - keep;
    link.packets.resize(keep);
  }
  std::erase_if(processes_, [&](const auto& p) { return p.first.node == node; });
  LeaveDisk(node);
  raylets_.erase(node);
}

// Some of what was written last never came to the disk.
void World::LeaveDisk(uint32_t node) {
  SimRaylet& raylet = *raylets_.at(node);
  for (const auto& [version, bytes] : raylet.disk()) {
    if (rng_.Percent(90)) left_disks_[node][version] = {bytes, raylet.store().contains(version)};
  }
}

const Blob* World::OnLeftDisk(uint32_t node, const Version& version) const {
  const auto disk = left_disks_.find(node);
  if (disk == left_disks_.end()) return nullptr;
  const auto it = disk->second.find(version);
  return it == disk->second.end() ? nullptr : &it->second.bytes;
}

void World::FenceNode(uint32_t node) {
  if (!Hurt(node)) Fail("node " + std::to_string(node) + " ends its work though nobody touched it (C3)");
  After(kMillisecond, [this, node] {
    if (RayletAt(node) != nullptr) KillNode(node);
  });
}

void World::LeaveNode(uint32_t node) {
  ++deaths_;
  left_.insert(node);
  After(kMillisecond, [this, node] {
    std::erase_if(processes_, [&](const auto& p) { return p.first.node == node; });
    LeaveDisk(node);
    raylets_.erase(node);
  });
}

// SIGSTOP to all there is, and SIGCONT: only the clocks have gone on.
void World::SuspendAll(TimeNs how_long) {
  std::priority_queue<Event> later;
  for (; !events_.empty(); events_.pop()) {
    Event e = std::move(const_cast<Event&>(events_.top()));
    e.at += how_long;
    later.push(std::move(e));
  }
  events_ = std::move(later);
  for (auto& [key, link] : links_) link.last += how_long;
  for (auto& [node, until] : cut_) until = until == kNever ? kNever : until + how_long;
}

// Deaths, suspensions and evictions, until the driver's program is over.
void World::ScheduleTrouble() {
  for (uint32_t i = 0; features_.node_kills && i <= features_.more_node_kills; ++i) {
    After(static_cast<TimeNs>(rng_.Below(2000)) * kMillisecond, [this] {
      const auto node = static_cast<uint32_t>(2 + rng_.Below(features_.nodes - 1));
      if (finishing_ || RayletAt(node) == nullptr) return;
      hurt_.insert(node);
      if (rng_.Percent(50)) return KillNode(node);
      // What lives on there goes on until it fences itself, or is connected again.
      ++deaths_;
      const TimeNs until =
          rng_.Percent(50) ? kNever : now_ + static_cast<TimeNs>(rng_.Below(8000)) * kMillisecond;
      cut_[node] = std::max(cut_[node], until);  // a second cut heals nothing: what was lost stays lost
    });
  }
  for (uint32_t i = 0; i < features_.drains; ++i) {
    After(static_cast<TimeNs>(rng_.Below(2000)) * kMillisecond, [this] {
      const auto node = static_cast<uint32_t>(2 + rng_.Below(features_.nodes - 1));
      const auto timeout = static_cast<TimeNs>(rng_.Below(3000)) * kMillisecond;
      if (finishing_ || RayletAt(node) == nullptr) return;
      SimRaylet* head = RayletAt(kHeadNode);
      // One that is cut off may be dead for the head already.
      if (head->gcs()->Drain({node, timeout, "a test"}).ok()) head->Poke();
    });
  }
  if (features_.job_suspends) {
    After(static_cast<TimeNs>(rng_.Below(1000)) * kMillisecond, [this] {
      const auto how_long = static_cast<TimeNs>(3 + rng_.Below(200)) * kSecond;
      if (!finishing_) SuspendAll(how_long);
    });
  }
  // A recursion through the event queue; it ends with the program.
  auto again = std::make_shared<std::function<void()>>();
  *again = [this, again] {
    if (finishing_ || driver_done_) {
      *again = nullptr;
      return;
    }
    std::vector<SimProcess*> workers;
    ForEachProcess([&](SimProcess* p) {
      if (!p->driver()) workers.push_back(p);
    });
    if (!workers.empty()) {
      SimProcess* p = workers[rng_.Below(workers.size())];
      if (features_.suspends && rng_.Percent(30)) {
        p->Suspend(now_ + static_cast<TimeNs>(rng_.Below(2000)) * kMillisecond);
      } else if (features_.kills && rng_.Percent(p->running() ? 50 : 20)) {
        p->Die();
      }
    }
    const auto r = raylets_.begin();
    auto chosen = std::next(r, static_cast<std::ptrdiff_t>(rng_.Below(raylets_.size())));
    if (rng_.Percent(20)) chosen->second->EvictSomething();
    if (features_.shared_disk) {
      for (auto& [node, raylet] : raylets_) raylet->SpillSomething();
    }
    After(static_cast<TimeNs>(rng_.Below(100)) * kMillisecond, *again);
  };
  After(50 * kMillisecond, *again);
}

// ---- reports ----------------------------------------------------------------------------------------------

// Most bodies begin with a task's or an object's id: its first bytes tell what the message is about.
void World::Trace(const Packet& packet) {
  const MessageHeader& header = packet.header;
  if (header.type == static_cast<uint16_t>(MsgType::kPush)) {
    Push m;
    Reader in(packet.body.bytes());
    in(m);
    uint32_t& last = tasks_[m.task].pushed;
    last = std::max(last, m.attempt);
  }
  trace_.emplace_back(now_, header);
  if (trace_.size() > kTraceLength) trace_.pop_front();
  if (!verbose_) return;
  std::printf("%s %s -> %s type %u ", Seconds(now_).c_str(), ToString(header.src).c_str(),
              ToString(header.dst).c_str(), header.type);
  for (size_t i = 0; i < std::min(packet.body.size(), kObjectIdSize); ++i) {
    std::printf("%02x", static_cast<unsigned>(packet.body.data()[i]));
  }
  std::printf(", %u bytes\n", header.body_bytes);
}

std::string World::TraceText() const {
  std::string out = "the last deliveries:\n";
  for (const auto& [at, h] : trace_) {
    out += "  " + Seconds(at) + "  " + ToString(h.src) + " -> " + ToString(h.dst) + "  type " +
           std::to_string(h.type) + "\n";
  }
  return out;
}

std::string World::Describe() const {
  std::string out;
  for (const auto& [node, r] : raylets_) out += r->Describe();
  for (const auto& [a, p] : processes_) out += p->Describe();
  return out;
}

void World::Fail(const std::string& what) {
  if (failure_.empty()) failure_ = "seed " + std::to_string(seed_) + " at " + Seconds(now_) + " s: " + what;
}

}  // namespace rmpi::sim
