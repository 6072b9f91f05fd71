// SPDX-License-Identifier: Apache-2.0
#include "slurm/hostlist.h"

#include <gmock/gmock.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>
#include <sstream>

namespace rmpi {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> Hosts(const std::string& list) {
  std::vector<std::string> hosts;
  Status s = ExpandHostlist(list, &hosts);
  EXPECT_TRUE(s.ok()) << list << ": " << s.message();
  return hosts;
}

TEST(Hostlist, Expands) {
  EXPECT_THAT(Hosts("n[001-004,7]"), ElementsAre("n001", "n002", "n003", "n004", "n7"));
  EXPECT_THAT(Hosts("a,b[1-2],c"), ElementsAre("a", "b1", "b2", "c"));
  EXPECT_THAT(Hosts("x[1-2][3-4]"), ElementsAre("x13", "x14", "x23", "x24"));
  EXPECT_THAT(Hosts("n[8-11]"), ElementsAre("n8", "n9", "n10", "n11"));
  EXPECT_THAT(Hosts(""), ElementsAre());
}

TEST(Hostlist, ExpandsWhatSlurmItselfDoesNot) {
  EXPECT_THAT(Hosts("gpu-[1-2]-[a]"), ElementsAre("gpu-1-a", "gpu-2-a"));
  EXPECT_THAT(Hosts("rack[0-1]n[00-01]-ib"),
              ElementsAre("rack0n00-ib", "rack0n01-ib", "rack1n00-ib", "rack1n01-ib"));
}

TEST(Hostlist, SaysWhatIsWrong) {
  for (auto [list, reason] : {std::pair("n[1-3", "do not match"),
                              {"n1-3]", "do not match"},
                              {"n]1[", "do not match"},
                              {"n[]", "empty"},
                              {"n[3-1]", "before"},
                              {"n[1-]", "numbers"},
                              {"n[a-c]", "numbers"},
                              {"n[1,,2]", "two commas"},
                              {"n[[1-2]]", "inside"},
                              {"n[0-9999999999]", "too long"},
                              {"n[0-999][0-999][0-999]", "too many"}}) {
    std::vector<std::string> hosts;
    Status s = ExpandHostlist(list, &hosts);
    EXPECT_EQ(s.code(), StatusCode::kInvalid) << list;
    EXPECT_THAT(s.message(), HasSubstr(reason)) << list;
  }
}

// scontrol's own expansion, or nothing where there is no scontrol.
std::vector<std::string> AskScontrol(const std::string& list) {
  const std::string conf = testing::TempDir() + "hostlist_slurm.conf";
  std::ofstream(conf) << "ClusterName=x\nSlurmctldHost=localhost\nNodeName=n0\n";
  const std::string command = "SLURM_CONF=" + conf + " scontrol show hostnames '" + list + "' 2>/dev/null";
  FILE* pipe = popen(command.c_str(), "r");
  std::string text;
  for (int c; (c = fgetc(pipe)) != EOF;) text += static_cast<char>(c);
  pclose(pipe);
  std::istringstream lines(text);
  std::vector<std::string> hosts;
  for (std::string line; std::getline(lines, line);) hosts.push_back(line);
  return hosts;
}

// A random list of the kind that Slurm writes.
std::string RandomList(std::mt19937* random) {
  auto below = [&](unsigned n) { return static_cast<unsigned>((*random)() % n); };
  std::string list;
  for (unsigned items = 1 + below(3); items > 0; --items) {
    list += list.empty() ? "" : ",";
    list += std::string(1, static_cast<char>('a' + below(26))) + (below(2) ? "-" : "");
    for (unsigned brackets = below(3); brackets > 0; --brackets) {
      list += "[";
      unsigned next = below(12);
      for (unsigned ranges = 1 + below(3); ranges > 0; --ranges) {
        const unsigned last = next + below(4);
        char range[32];
        const int width = 1 + static_cast<int>(below(4));
        snprintf(range, sizeof range, last > next ? "%0*u-%0*u" : "%0*u", width, next, width, last);
        list += range + std::string(ranges > 1 ? "," : "");
        next = last + 2;
      }
      list += brackets > 1 ? "]r" : "]";
    }
  }
  return list;
}

TEST(Hostlist, AgreesWithScontrol) {
  if (AskScontrol("a,b").size() != 2) GTEST_SKIP() << "no scontrol here";
  std::mt19937 random(20);
  for (int i = 0; i < 60; ++i) {
    const std::string list = RandomList(&random);
    EXPECT_EQ(Hosts(list), AskScontrol(list)) << list;
  }
}

TEST(Counts, Expands) {
  std::vector<int> counts;
  ASSERT_TRUE(ExpandCounts("128(x2),64,1(x1)", &counts).ok());
  EXPECT_THAT(counts, ElementsAre(128, 128, 64, 1));
  for (const char* bad : {"128(x2", "x", "12(2)", "1,,2", "-1", "99999999999", "1(x9999999999)"}) {
    EXPECT_EQ(ExpandCounts(bad, &counts).code(), StatusCode::kInvalid) << bad;
  }
}

}  // namespace
}  // namespace rmpi
