// SPDX-License-Identifier: Apache-2.0
// A folder that stands for "/" in tests: files of /proc and /sys as a machine of our choice would show them.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace rmpi {

class FakeRoot {
 public:
  FakeRoot() : path_(testing::TempDir() + "fake-root-XXXXXX") {
    EXPECT_NE(::mkdtemp(path_.data()), nullptr);
    Write("/proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\nMemAvailable:   12582912 kB\n");
    Write("/sys/devices/system/cpu/online", "0-15\n");
    Write("/sys/devices/system/node/online", "0-1\n");
    Write("/sys/devices/system/node/node0/cpulist", "0-7\n");
    Write("/sys/devices/system/node/node1/cpulist", "8-15\n");
    Write("/sys/devices/system/node/node0/meminfo",
          "Node 0 MemTotal:        8388608 kB\nNode 0 MemFree: 1 kB\n");
    Write("/sys/devices/system/node/node1/meminfo", "Node 1 MemTotal:        8388608 kB\n");
  }
  ~FakeRoot() { std::filesystem::remove_all(path_); }
  FakeRoot(const FakeRoot&) = delete;

  const std::string& path() const { return path_; }

  void Write(const std::string& file, const std::string& text) {
    const std::filesystem::path full = path_ + file;
    std::filesystem::create_directories(full.parent_path());
    std::ofstream(full) << text;
  }

  // A machine with version 2 only; our group is /slurm/job_7/step_0.
  void UseCgroup2() {
    Write("/proc/self/cgroup", "0::/slurm/job_7/step_0\n");
    Write("/proc/self/mountinfo",
          "25 30 0:23 / /sys rw,nosuid shared:6 - sysfs sysfs rw\n"
          "30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n");
  }

  // A machine with version 1, and an unused version 2 beside it, as systemd's "hybrid" layout has them.
  void UseCgroup1() {
    Write("/proc/self/cgroup",
          "9:cpu,cpuacct:/slurm/job_7\n4:memory:/slurm/job_7/step_0\n3:cpuset:/slurm/job_7\n0::/\n");
    Write("/proc/self/mountinfo",
          "31 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
          "33 30 0:29 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
          "34 30 0:30 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
          "35 30 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n");
  }

 private:
  std::string path_;
};

inline constexpr uint64_t kGiB = uint64_t{1} << 30;

}  // namespace rmpi
