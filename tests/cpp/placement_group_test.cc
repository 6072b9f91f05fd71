// SPDX-License-Identifier: Apache-2.0
// Placement groups, as a C++ program uses them. Nodes have two CPUs and two GPUs each.
#include <gtest/gtest.h>
#include <ray/api.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "tests/cpp/api_main.h"
#include "tests/cpp/waiting.h"

namespace test {

int Doubled(int n) { return 2 * n; }
// Whether a task of its own ran outside of its group, whose bundles have no GPU; asked so many tasks below.
std::string WhereChildrenGo(int depth) {
  if (depth != 0) return *ray::Get(ray::Task(WhereChildrenGo).SetResource("CPU", 0.25).Remote(depth - 1));
  try {
    ray::Get(ray::Task(Doubled).SetResource("CPU", 0.25).SetResource("GPU", 1).Remote(4), 30'000);
    return "elsewhere";
  } catch (const ray::RayTaskUnschedulableException&) {
    return "in the group";
  }
}
int SleepMs(int ms) {
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
  return ms;
}

class Member {
 public:
  static Member* Create() { return new Member; }
  int Next() { return ++n_; }
  std::string WhereChildrenGo(int depth) { return test::WhereChildrenGo(depth); }

 private:
  int n_ = 0;
};
RAY_REMOTE(Doubled, WhereChildrenGo, SleepMs, Member::Create, &Member::Next, &Member::WhereChildrenGo);

namespace {

using ray::PlacementGroup;
using ray::PlacementGroupState;
using ray::PlacementStrategy;
using Bundles = std::vector<std::unordered_map<std::string, double>>;

PlacementGroup Make(Bundles bundles, PlacementStrategy strategy = PlacementStrategy::PACK,
                    const std::string& name = "") {
  return ray::CreatePlacementGroup({name, std::move(bundles), strategy});
}

// Its resources are the node's again.
void End(const PlacementGroup& group) {
  ray::RemovePlacementGroup(group.GetID());
  EXPECT_TRUE(Soon(
      [&] { return ray::GetPlacementGroupById(group.GetID()).GetState() == PlacementGroupState::REMOVED; }));
}

TEST(PlacementGroups, TasksAndActorsRunInTheirBundles) {
  const PlacementGroup group = Make({{{"CPU", 1}}, {{"CPU", 1}}});
  ASSERT_TRUE(group.Wait(30));
  EXPECT_EQ(group.GetID().size(), 36U);
  for (int bundle = -1; bundle < 2; ++bundle) {
    EXPECT_EQ(*ray::Get(ray::Task(Doubled).SetPlacementGroup(group, bundle).Remote(4)), 8);
  }
  auto member = ray::Actor(Member::Create).SetResource("CPU", 1.0).SetPlacementGroup(group, 1).Remote();
  EXPECT_EQ(*ray::Get(member.Task(&Member::Next).Remote()), 1);
  member.Kill();
  End(group);
}

TEST(PlacementGroups, ABundleRunsNoMoreThanItHas) {
  const PlacementGroup group = Make({{{"CPU", 1}}});
  ASSERT_TRUE(group.Wait(30));
  const auto start = std::chrono::steady_clock::now();
  std::vector<ray::ObjectRef<int>> refs;
  for (int i = 0; i < 4; ++i) refs.push_back(ray::Task(SleepMs).SetPlacementGroup(group, 0).Remote(100));
  ray::Get(refs);
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(390));
  End(group);
}

TEST(PlacementGroups, CapturesWhatItsTasksSubmitOnlyIfItIsToldTo) {
  const PlacementGroup group = Make({{{"CPU", 1}}});
  ASSERT_TRUE(group.Wait(30));
  for (const bool capture : {false, true}) {
    const std::string where = capture ? "in the group" : "elsewhere";
    for (const int depth : {0, 2}) {
      auto task = ray::Task(WhereChildrenGo).SetResource("CPU", 0.25).SetPlacementGroup(group, 0, capture);
      EXPECT_EQ(*ray::Get(task.Remote(depth), 60'000), where) << depth;
    }
    auto member =
        ray::Actor(Member::Create).SetResource("CPU", 0.25).SetPlacementGroup(group, 0, capture).Remote();
    EXPECT_EQ(*ray::Get(member.Task(&Member::WhereChildrenGo).Remote(1), 60'000), where) << "of an actor";
    member.Kill();
  }
  End(group);
}

TEST(PlacementGroups, StrictSpreadWantsANodeForEach) {
  const Bundles one_each(static_cast<size_t>(Given().nodes), {{"CPU", 1}});
  const PlacementGroup fits = Make(one_each, PlacementStrategy::STRICT_SPREAD);
  EXPECT_TRUE(fits.Wait(30));
  End(fits);
  Bundles too_many = one_each;
  too_many.push_back({{"CPU", 1}});
  const PlacementGroup waits = Make(too_many, PlacementStrategy::STRICT_SPREAD);
  EXPECT_FALSE(waits.Wait(1));
  EXPECT_EQ(ray::GetPlacementGroupById(waits.GetID()).GetState(), PlacementGroupState::PENDING);
  End(waits);
}

TEST(PlacementGroups, AreFoundByNameAndIdAndInTheList) {
  const std::string name = RandomName("group");
  const PlacementGroup group = Make({{{"CPU", 1}, {"GPU", 1}}}, PlacementStrategy::SPREAD, name);
  ASSERT_TRUE(group.Wait(30));
  const PlacementGroup found = ray::GetPlacementGroup(name);
  EXPECT_EQ(found.GetID(), group.GetID());
  EXPECT_EQ(found.GetName(), name);
  EXPECT_EQ(found.GetBundles(), (Bundles{{{"CPU", 1}, {"GPU", 1}}}));
  EXPECT_EQ(found.GetStrategy(), PlacementStrategy::SPREAD);
  EXPECT_EQ(ray::GetPlacementGroupById(group.GetID()).GetState(), PlacementGroupState::CREATED);
  const auto all = ray::GetAllPlacementGroups();
  EXPECT_TRUE(std::any_of(all.begin(), all.end(), [&](const auto& g) { return g.GetID() == group.GetID(); }));
  EXPECT_THROW(Make({{{"CPU", 1}}}, PlacementStrategy::PACK, name), ray::RayException);
  End(group);
  EXPECT_TRUE(ray::GetPlacementGroup(name).Empty());
  EXPECT_TRUE(ray::GetPlacementGroupById("no id").Empty());
}

TEST(PlacementGroups, RemovalEndsWhatRunsAndWhatWaits) {
  const PlacementGroup group = Make({{{"CPU", 1}}});
  ASSERT_TRUE(group.Wait(30));
  auto member = ray::Actor(Member::Create).SetResource("CPU", 1.0).SetPlacementGroup(group, 0).Remote();
  EXPECT_EQ(*ray::Get(member.Task(&Member::Next).Remote()), 1);
  const auto waits = ray::Task(Doubled).SetPlacementGroup(group, 0).Remote(1);
  ray::RemovePlacementGroup(group.GetID());
  EXPECT_THROW(ray::Get(waits, 30'000), ray::RayTaskUnschedulableException);
  // The actor ends soon after the removal: a call at once may still be answered.
  EXPECT_TRUE(Soon([&] {
    return ActorError(member.Task(&Member::Next).Remote()).find("placement group") != std::string::npos;
  }));
  EXPECT_THROW(group.Wait(30), ray::RayException);
  const auto late = ray::Task(Doubled).SetPlacementGroup(group, 0).Remote(1);
  EXPECT_THROW(ray::Get(late, 30'000), ray::RayTaskUnschedulableException);
}

TEST(PlacementGroups, RefuseWhatCannotBe) {
  EXPECT_THROW(Make({}), ray::RayException);
  EXPECT_THROW(Make({{}}), ray::RayException);
  EXPECT_THROW(Make({{{"CPU", 0}}}), ray::RayException);
  EXPECT_THROW(Make({{{"CPU", -1}}}), ray::RayException);
  EXPECT_THROW(Make({{{"CPU", 1.5}}}), ray::RayException);
  const PlacementGroup group = Make({{{"CPU", 1}}});
  EXPECT_THROW(ray::Task(Doubled).SetPlacementGroup(group, 1), ray::RayException);
  EXPECT_THROW(ray::Task(Doubled).SetPlacementGroup(group, -2), ray::RayException);
  EXPECT_THROW(
      ray::Get(ray::Task(Doubled).SetResource("CPU", 2.0).SetPlacementGroup(group, 0).Remote(1), 30'000),
      ray::RayTaskUnschedulableException);
  End(group);
  EXPECT_THROW(PlacementGroup().Wait(0), ray::RayException) << "no group";
}

}  // namespace
}  // namespace test
