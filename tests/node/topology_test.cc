// SPDX-License-Identifier: Apache-2.0
#include "runtime/node/topology.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

namespace rmpi {
namespace {

TEST(TopologyTest, PlacesOfASyntheticMachine) {
  Topology topology;
  ASSERT_TRUE(LoadTopology("package:2 [numa] core:4 pu:2", &topology).ok());
  CpuList all = topology.cpus_by_locality;
  ASSERT_EQ(all.size(), 16U);
  const std::vector<sched::CpuPlace> places = PlacesOf(topology, all);
  ASSERT_EQ(places.size(), 16U);
  std::set<int> cores;
  for (const sched::CpuPlace& place : places) {
    cores.insert(place.core);
    EXPECT_EQ(place.numa, place.core / 4) << place.cpu;
  }
  EXPECT_EQ(cores.size(), 8U);
}

TEST(TopologyTest, OnlyWhatIsGranted) {
  Topology topology;
  ASSERT_TRUE(LoadTopology("package:2 [numa] core:4 pu:2", &topology).ok());
  const std::vector<sched::CpuPlace> places = PlacesOf(topology, {6, 7, 8, 9});
  ASSERT_EQ(places.size(), 4U);
  EXPECT_EQ(places[0].numa, 0);
  EXPECT_EQ(places[3].numa, 1);
  EXPECT_TRUE(PlacesOf(topology, {1, 99}).empty()) << "a CPU that nobody knows: nobody is bound";
}

TEST(TopologyTest, LeasesOfFourStayInOneDomain) {
  Topology topology;
  ASSERT_TRUE(LoadTopology("package:4 [numa] core:6 pu:1", &topology).ok());
  sched::CpuSlots slots(PlacesOf(topology, topology.cpus_by_locality));
  for (int i = 0; i < 4; ++i) {
    const sched::CpuSet four = slots.Take(4, {}, sched::kAnyNuma);
    ASSERT_EQ(four.size(), 4U);
    for (int cpu : four) EXPECT_EQ(slots.NumaOf(cpu), slots.NumaOf(four.front()));
  }
  EXPECT_EQ(slots.Take(2, {}, 3).size(), 2U) << "two are left in each";
}

TEST(TopologyTest, FromXml) {
  const std::filesystem::path path = std::filesystem::temp_directory_path() / "ray-mpi-topology-test.xml";
  std::ofstream(path) << R"(<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE topology SYSTEM "hwloc2.dtd">
<topology version="2.0">
  <object type="Machine" os_index="0" cpuset="0x0000000f" complete_cpuset="0x0000000f" allowed_cpuset="0x0000000f" nodeset="0x00000003" complete_nodeset="0x00000003" allowed_nodeset="0x00000003" gp_index="1">
    <object type="Package" os_index="0" cpuset="0x00000005" complete_cpuset="0x00000005" nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="2">
      <object type="NUMANode" os_index="0" cpuset="0x00000005" complete_cpuset="0x00000005" nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="3" local_memory="1024"/>
      <object type="Core" os_index="0" cpuset="0x00000001" complete_cpuset="0x00000001" nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="4">
        <object type="PU" os_index="0" cpuset="0x00000001" complete_cpuset="0x00000001" nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="5"/>
      </object>
      <object type="Core" os_index="1" cpuset="0x00000004" complete_cpuset="0x00000004" nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="6">
        <object type="PU" os_index="2" cpuset="0x00000004" complete_cpuset="0x00000004" nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="7"/>
      </object>
    </object>
    <object type="Package" os_index="1" cpuset="0x0000000a" complete_cpuset="0x0000000a" nodeset="0x00000002" complete_nodeset="0x00000002" gp_index="8">
      <object type="NUMANode" os_index="1" cpuset="0x0000000a" complete_cpuset="0x0000000a" nodeset="0x00000002" complete_nodeset="0x00000002" gp_index="9" local_memory="1024"/>
      <object type="Core" os_index="0" cpuset="0x00000002" complete_cpuset="0x00000002" nodeset="0x00000002" complete_nodeset="0x00000002" gp_index="10">
        <object type="PU" os_index="1" cpuset="0x00000002" complete_cpuset="0x00000002" nodeset="0x00000002" complete_nodeset="0x00000002" gp_index="11"/>
      </object>
      <object type="Core" os_index="1" cpuset="0x00000008" complete_cpuset="0x00000008" nodeset="0x00000002" complete_nodeset="0x00000002" gp_index="12">
        <object type="PU" os_index="3" cpuset="0x00000008" complete_cpuset="0x00000008" nodeset="0x00000002" complete_nodeset="0x00000002" gp_index="13"/>
      </object>
    </object>
  </object>
</topology>
)";
  Topology topology;
  const Status status = LoadTopology(path.string(), &topology);
  std::filesystem::remove(path);
  ASSERT_TRUE(status.ok()) << status.message();
  sched::CpuSlots slots(PlacesOf(topology, {0, 1, 2, 3}));
  EXPECT_EQ(slots.Take(2, {}, 1), (sched::CpuSet{1, 3})) << "numbers that alternate between the packages";
  EXPECT_EQ(slots.Take(2, {}, 1), (sched::CpuSet{0, 2}));
}

TEST(TopologyTest, WhatHwlocDoesNotUnderstand) {
  Topology topology;
  EXPECT_FALSE(LoadTopology("nonsense:x", &topology).ok());
  EXPECT_FALSE(LoadTopology("/there/is/no.xml", &topology).ok());
}

TEST(TopologyTest, ThisMachine) {
  Topology topology;
  ASSERT_TRUE(LoadTopology("", &topology).ok());
  EXPECT_EQ(PlacesOf(topology, AffinityOf(0)).size(), AffinityOf(0).size());
}

}  // namespace
}  // namespace rmpi
