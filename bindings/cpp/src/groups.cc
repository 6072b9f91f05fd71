// SPDX-License-Identifier: Apache-2.0
#include "bindings/cpp/src/groups.h"

#include <charconv>
#include <cmath>
#include <list>
#include <string>
#include <vector>

#include "bindings/cpp/src/session.h"
#include "bindings/cpp/src/submit.h"

namespace rmpi::cpp {
namespace {

constexpr double kUnit = 10000;  // amounts are fixed point
constexpr size_t kIdDigits = 36, kNumberDigits = 8;

// What a thread's last call gave it, and what its texts point to.
struct Kept {
  std::vector<abi::Group> groups;
  std::vector<std::vector<abi::Bundle>> bundles;
  std::list<std::vector<abi::Resource>> resources;
  std::list<std::string> texts;

  abi::Text Keep(std::string text) { return texts.emplace_back(std::move(text)); }
};

Kept& Fill(CoreWorker* core, const std::vector<GroupRecord>& records) {
  thread_local Kept kept;
  kept = Kept();
  for (const GroupRecord& r : records) {
    std::vector<abi::Bundle> bundles;
    for (const GroupBundle& b : r.bundles) {
      auto& resources = kept.resources.emplace_back();
      for (const auto& [name, amount] : b.resources)
        resources.push_back({kept.Keep(name), static_cast<double>(amount) / kUnit});
      bundles.push_back({resources.data(), resources.size()});
    }
    kept.bundles.push_back(std::move(bundles));
    abi::Group g;
    g.id = kept.Keep(core->GroupId(r.group));
    g.name = kept.Keep(r.name);
    g.strategy = static_cast<int32_t>(r.strategy);
    g.state = static_cast<int32_t>(r.state);
    kept.groups.push_back(g);
  }
  for (size_t i = 0; i < records.size(); ++i) {
    kept.groups[i].bundles = kept.bundles[i].data();
    kept.groups[i].bundle_count = kept.bundles[i].size();
  }
  return kept;
}

template <class Call>
Status Uninterrupted(Call&& call) {
  Status status;
  do {
    status = call();
  } while (status.code() == StatusCode::kInterrupted);
  return status;
}

}  // namespace

// The last four bytes, little-endian.
uint32_t GroupNumber(abi::Text id) {
  const std::string_view text = id.view();
  if (text.size() != kIdDigits) return 0;
  uint32_t number = 0;
  const char* const end = text.data() + kIdDigits;
  const auto [stop, error] = std::from_chars(end - kNumberDigits, end, number, 16);
  return error == std::errc() && stop == end ? __builtin_bswap32(number) : 0;
}

void Place(CoreWorker* core, const abi::InGroup& placement, TaskTemplate* t) {
  t->group = GroupNumber(placement.group);
  t->bundle = placement.bundle;
  t->inherits = t->group == 0;
  t->capture = t->group != 0 && (placement.capture != 0 || core->current_group().capture);
}

abi::Code CreateGroup(const abi::Group* wanted, abi::Group* out) {
  const InCore core;
  if (!core) return FailNotConnected();
  GroupRecord record;
  record.name = wanted->name.str();
  record.strategy = static_cast<GroupStrategy>(wanted->strategy);
  if (const abi::Code code = Session::Get().Namespace(&record.ray_namespace); code != abi::kOk) return code;
  for (uint64_t i = 0; i < wanted->bundle_count; ++i) {
    GroupBundle bundle;
    for (const auto& [name, amount] : ResourcesOf(wanted->bundles[i].resources, wanted->bundles[i].count))
      bundle.resources.emplace_back(name, static_cast<int64_t>(std::llround(amount * kUnit)));
    record.bundles.push_back(std::move(bundle));
  }
  const Status status = Uninterrupted([&] { return core->CreateGroup(&record); });
  if (!status.ok()) return Fail(abi::kError, status.message());
  *out = Fill(core.get(), {record}).groups[0];
  return abi::kOk;
}

abi::Code RemoveGroup(abi::Text id) {
  const InCore core;
  if (!core) return FailNotConnected();
  const uint32_t number = GroupNumber(id);
  if (number == 0) return abi::kOk;
  const Status status = Uninterrupted([&] { return core->RemoveGroup(number); });
  return status.ok() ? abi::kOk : Fail(status);
}

abi::Code FindGroups(abi::Text id, abi::Text name, const abi::Group** out, uint64_t* count) {
  const InCore core;
  if (!core) return FailNotConnected();
  std::vector<GroupRecord> found;
  Status status = Status::Ok();
  if (name.size != 0) {
    std::string ray_namespace;
    if (const abi::Code code = Session::Get().Namespace(&ray_namespace); code != abi::kOk) return code;
    status = Uninterrupted([&] { return core->FindGroup(ray_namespace, name.str(), &found.emplace_back()); });
    if (status.code() == StatusCode::kNotFound) {
      found.clear();
      status = Status::Ok();
    }
  } else if (const uint32_t number = GroupNumber(id); id.size == 0 || number != 0) {
    status = Uninterrupted([&] { return core->ListGroups(number, &found); });
  }
  if (!status.ok()) return Fail(status);
  const Kept& kept = Fill(core.get(), found);
  *out = kept.groups.data();
  *count = kept.groups.size();
  return abi::kOk;
}

abi::Code GroupReady(abi::Text id, abi::Handle* out) {
  const InCore core;
  if (!core) return FailNotConnected();
  const uint32_t number = GroupNumber(id);
  if (number == 0) return Fail(abi::kError, "there is no placement group '" + id.str() + "'");
  Ref ready;
  const Status status = core->GroupReady(number, Blob(), &ready);
  if (!status.ok()) return Fail(status);
  *out = ready.Release();
  return abi::kOk;
}

}  // namespace rmpi::cpp
