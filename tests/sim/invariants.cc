// SPDX-License-Identifier: Apache-2.0
// PROTOCOL's invariants, by their numbers there.
#include <algorithm>

#include "tests/sim/process.h"
#include "tests/sim/raylet.h"
#include "tests/sim/world.h"

namespace rmpi::sim {

void World::OnSubmit(const TaskId& task, int32_t max_retries) {
  TaskFacts& facts = tasks_[task];  // of detached actors all are told again with each new one
  facts.max_retries = max_retries + static_cast<int32_t>(facts.free);
  by_hex_[Hex(task)] = task;
}

// Its worker had no memory left: that attempt is not charged.
void World::OnFreeRetry(const TaskId& task) {
  const auto it = tasks_.find(task);
  if (it == tasks_.end() || it->second.max_retries == 0 || task.kind() != TaskKind::kNormal) return;
  ++it->second.max_retries;
  ++it->second.free;
}

// Its node leaves: no attempt that ran there is charged, nor a restart, even if none is left.
void World::OnDrained(const SimProcess& worker) {
  const auto free = [&](const TaskId& task) {
    const auto it = tasks_.find(task);
    if (it == tasks_.end() || it->second.max_retries == 0) return;
    ++it->second.max_retries;
    ++it->second.free;
  };
  for (const auto& [entry, claim] : worker.claims()) free(claim.task);
  free(worker.actor().task);
}

void World::OnClaim(const Address& worker, const TaskId& task, uint32_t attempt) {
  ++started_;
  TaskFacts& facts = tasks_[task];
  rebuilt_ += facts.finished ? 1 : 0;
  const std::string who =
      "task " + Hex(task) + " attempt " + std::to_string(attempt) + " claimed by " + ToString(worker);
  if (std::find(facts.claimed.begin(), facts.claimed.end(), attempt) != facts.claimed.end()) {
    Fail(who + ": a second claim of that attempt (1)");
  }
  facts.claimed.push_back(attempt);
  if (facts.claimed.size() > static_cast<size_t>(facts.max_retries) + 1)
    Fail(who + ": more claims than retries (2)");
  if (cancelled_.count(task) != 0) Fail(who + ": after its CANCEL was handled (16)");
}

// 17, and 8 down to the device.
void World::CheckDevices(uint32_t node) {
  std::map<uint32_t, int64_t> use;
  for (const auto& [address, p] : processes_) {
    if (address.node == node) p->AddDeviceUse(&use);
  }
  for (const auto& [device, amount] : use) {
    if (amount <= sched::kResourceUnit) continue;
    Fail("tasks that run on node " + std::to_string(node) + " hold " + std::to_string(amount) +
         "/10000 of device " + std::to_string(device) + " (8)");
  }
}

// 10
void World::OnActorRuns(const SimProcess& host) {
  for (const auto& [address, p] : processes_) {
    if (p.get() == &host || !p->alive() || p->actor() != host.actor()) continue;
    Fail("actor " + Hex(host.actor()) + " runs in " + ToString(host.self()) + " and still lives in " +
         ToString(address) + " (10)");
  }
}

void World::OnGone(const Address& borrower, const ObjectId& id) {
  // One that is found by name may be dead.
  if (id.owner() == DetachedOwner()) return;
  if (deaths_ == 0 && Live(id.owner()) != nullptr) {
    Fail("GONE for object " + Hex(id) + " to its borrower " + ToString(borrower) +
         " though nobody has died (3, 4)");
  }
}

void World::OnError(const Address& reader, const ObjectId& id, uint8_t kind, Bytes value) {
  if (kind != static_cast<uint8_t>(ValueKind::kSystemError)) return;
  Reader in(value);
  uint8_t type = 0;
  std::string message, context;
  in(type, message, context);
  CheckCharges(type, message, context);
  const auto about = by_hex_.find(context.substr(0, 2 * kTaskIdSize));
  const std::string wrong = WhyNotLegitimate(static_cast<ErrorType>(type), message,
                                             about == by_hex_.end() ? TaskId{} : about->second);
  // What its owner has freed since then may still be there, and nobody looks.
  const bool freed = message.find("was freed when no reference") != std::string::npos;
  if (type >= static_cast<uint8_t>(ErrorType::kLostPut) && !freed && ReadableOnLeftDisk(context))
    Fail(ToString(reader) + " read that object " + context +
         " is lost, and a dead node has it on disk: " + message);
  if (wrong.empty()) return;
  Fail(ToString(reader) + " read an error from object " + Hex(id) + " " + wrong + ": " + message);
}

// The head knew that the files of that node are for all, and it held the object to its end.
bool World::ReadableOnLeftDisk(const std::string& object) const {
  for (const auto& [node, disk] : left_disks_) {
    const NodeRecord& record = RayletAt(kHeadNode)->gcs()->nodes().at(node);
    for (const auto& [version, on_disk] : disk) {
      if (on_disk.held && !record.spill_folders.empty() && Hex(version.id) == object) return true;
    }
  }
  return false;
}

// O7: an error that says that something cannot come back is checked against what is known of its task.
std::string World::WhyNotLegitimate(ErrorType type, const std::string& message, const TaskId& task) const {
  const auto it = tasks_.find(task);
  const TaskFacts facts = it == tasks_.end() ? TaskFacts{} : it->second;
  const bool spent = facts.pushed + facts.free >= static_cast<uint32_t>(facts.max_retries);
  const auto unless = [](bool fine, const char* why) { return std::string(fine ? "" : why); };
  switch (type) {
    case ErrorType::kTaskCancelled:  // infeasible ones are always cancelled, and their users fail with them
    case ErrorType::kTaskUnschedulable:
    case ErrorType::kActorUnschedulable:
      return "";
    case ErrorType::kTaskGroupRemoved:
    case ErrorType::kActorGroupRemoved:
      return unless(groups_removed_ != 0 || deaths_ != 0, "though no group was removed");
    case ErrorType::kActorDied:  // on purpose, but never while somebody holds it
      if (message.find("all references") == std::string::npos) return "";
      break;
    case ErrorType::kWorkerCrashed:
    case ErrorType::kNodeDied:
      if (!features_.cancels && !spent) return "though its task had retries left";
      break;
    case ErrorType::kObjectLost:  // of what its owner let go when the lender of a ref had died (R4)
      if (message.find("no longer holds it") == std::string::npos &&
          message.find("was freed by its owner") == std::string::npos) {
        return "though its task could run again";
      }
      break;
    case ErrorType::kStreamInconsistent:  // each attempt gives the same, unless it is interrupted
      if (!features_.cancels) return "though its task gives the same each time";
      break;
    case ErrorType::kNone:
      return "that says nothing";
    case ErrorType::kLostPut:
      return unless(task.nil(), "though a task made it");
    case ErrorType::kLostNoRetries:
      return unless(facts.max_retries == 0, "though its task had retries");
    case ErrorType::kLostRetriesSpent:
      // A dead node's files are looked through for each object by itself. So a run for the first that is not
      // there may have failed, by an argument and before it was pushed, when the loss of the next is found
      // out.
      return unless(facts.max_retries != 0 && (spent || features_.shared_disk),
                    "though its task had retries left");
    case ErrorType::kLostLineageEvicted:
      return unless(features_.lineage_cap != 0, "though its lineage was small");
    case ErrorType::kLostCancelled:
      return unless(features_.cancels, "though nobody cancels");
    case ErrorType::kLostNoActor:
      return unless(task.kind() == TaskKind::kActorCall, "though no method made it");
    default:
      break;
  }
  return unless(deaths_ != 0, "though nobody has died");
}

// T6: a task fails with its worker only after as many claims as it has attempts. When a node dies, what was
// claimed there is not known, and all that it had is charged. A cancelled one has no second attempt.
void World::CheckCharges(uint8_t error_type, const std::string& message, const std::string& task) {
  const auto type = static_cast<ErrorType>(error_type);
  if (type != ErrorType::kWorkerCrashed && type != ErrorType::kActorUnavailable) return;
  if (features_.node_kills || message.find("cancelled") != std::string::npos) return;
  for (const auto& [id, facts] : tasks_) {
    if (Hex(id) != task || facts.claimed.size() > static_cast<size_t>(facts.max_retries)) continue;
    Fail("task " + task + " failed after " + std::to_string(facts.claimed.size()) + " claims and " +
         std::to_string(facts.max_retries) +
         " retries: it was charged for what nobody claimed (2): " + message);
  }
}

// 3 and 4: whoever holds an acknowledged use finds the entry at its owner; without deaths, an unacknowledged
// one does too.
void World::CheckReferences() {
  std::vector<Address> all = {DetachedOwner()};
  for (const auto& [address, p] : processes_) {
    if (p->alive()) all.push_back(address);
  }
  for (const Address& address : all) {
    for (const auto& [id, e] : CoreAt(address)->objects().borrowed()) {
      core::Core* owner = CoreAt(id.owner());
      if (owner == nullptr || !e->details) continue;
      const auto registration = e->details->registration;
      if (registration == core::Registration::kGone) continue;
      const bool found_by_name = id.owner() == DetachedOwner();  // it may have died meanwhile
      if (registration == core::Registration::kSent && (deaths_ != 0 || found_by_name)) continue;
      // Its producer registers with the owner behind the item itself.
      if (registration == core::Registration::kSent && owner->streams().Expects(id)) continue;
      if (owner->objects().Find(id) == nullptr) {
        Fail("process " + ToString(address) + " holds object " + Hex(id) + " (registration " +
             std::to_string(static_cast<int>(registration)) + "), its owner no longer does (3)");
        return;
      }
    }
  }
}

bool World::Quiet() const {
  if (in_flight_ != 0) return false;
  for (const auto& [a, p] : processes_) {
    if (!p->Quiet()) return false;
  }
  return std::all_of(raylets_.begin(), raylets_.end(), [](const auto& r) { return r.second->Quiet(); });
}

void World::CheckEmpty(const Address& who, core::Core& c) {
  const auto fail = [&](const std::string& what) {
    Fail(what + ToString(who) + "\n" + (Live(who) != nullptr ? Live(who)->Describe() : "") + "all:\n" +
         Describe());
  };
  if (c.objects().owned_count() != 0 || c.objects().borrowed_count() != 0 ||
      c.objects().unacknowledged_count() != 0 || c.tasks().pending_count() != 0 ||
      c.executor().unsettled() != 0 || c.executor().unclaimed() != 0 || c.actor_owner().count() != 0 ||
      c.actor_calls().count() != 0 || c.streams().count() != 0 || c.tasks().lineage().count() != 0) {
    fail("tables are not empty at the end (5): ");
  }
  if (c.malformed() != 0) Fail("malformed messages at " + ToString(who));
  for (const auto& [key, q] : c.submitter().shapes()) {
    if (!q->leases.empty()) fail("leases are held at the end (5): ");
  }
}

// 5 and 8: nobody holds anything any more.
void World::CheckEmpty() {
  if (failed()) return;
  for (const auto& [a, p] : processes_) {
    if (p->alive()) CheckEmpty(a, p->core());
  }
  CheckEmpty(DetachedOwner(), *CoreAt(DetachedOwner()));
  if (const size_t left = RayletAt(kHeadNode)->gcs()->groups().count(); left != 0)
    Fail(std::to_string(left) + " placement groups are there at the end (5)");
  if (const size_t left = RayletAt(kHeadNode)->detached().count(); left != 0)
    Fail(std::to_string(left) + " detached actors live at the end (5)");
  for (const auto& [node, r] : raylets_) {
    const auto& s = r->scheduler();
    if (s.bundles().count() != 0) Fail("bundles at the end (9):\n" + r->Describe());
    if (s.lease_count() != 0 || s.demand_count() != 0)
      Fail("leases or demands at the end (5):\n" + r->Describe());
    for (const auto& [name, amount] : s.total()) {
      if (sched::AmountOf(s.available(), name) != amount)
        Fail("a pool is not full at the end (8):\n" + r->Describe());
    }
    const int64_t cpus = sched::AmountOf(s.total(), "CPU") / sched::kResourceUnit;
    if (s.cpu_slots().free_count() != static_cast<size_t>(cpus)) {
      Fail("node " + std::to_string(node) + " binds workers to " +
           std::to_string(static_cast<size_t>(cpus) - s.cpu_slots().free_count()) + " CPUs at the end (8)");
    }
    for (uint32_t d = 0; d < s.pool().device_count(); ++d) {
      if (s.pool().free_of(d) != sched::kResourceUnit)
        Fail("a device is not free at the end (8):\n" + r->Describe());
    }
    if (!r->store().empty()) Fail("the store is not empty at the end (5):\n" + r->Describe());
    if (r->gcs() != nullptr && r->gcs()->pending_demands() != 0) {
      Fail("the head still has " + std::to_string(r->gcs()->pending_demands()) + " demands (5)");
    }
  }
}

}  // namespace rmpi::sim
