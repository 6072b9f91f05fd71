// SPDX-License-Identifier: Apache-2.0
// Whole programs: what they print and how they end, in each of the ways to start them. Every run is bounded
// by timeout(1), and leaves no process behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

struct Outcome {
  int status = -1;
  std::string output;  // stdout and stderr
};

Outcome Launch(const std::string& command) {
  Outcome out;
  FILE* const pipe = ::popen(("timeout -k 5 50 " + command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return out;
  char part[4096];
  for (size_t n = 0; (n = std::fread(part, 1, sizeof part, pipe)) > 0;) out.output.append(part, n);
  const int status = ::pclose(pipe);
  out.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return out;
}

Outcome Scenario(const std::string& words) { return Launch(std::string(SCENARIOS) + " " + words); }

// A folder of its own for each test.
class Programs : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("ray-mpi-cpp-test-" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    ::unsetenv("RAY_ADDRESS");
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string File(const std::string& name) const { return (folder_ / name).string(); }
  // A folder with copies of libraries.
  std::string Libraries(const std::string& folder, const std::vector<std::string>& names) {
    fs::create_directories(folder_ / folder);
    for (const std::string& name : names) {
      fs::copy_file(fs::path(LIBRARIES) / (name + ".so"), folder_ / folder / (name + ".so"));
    }
    return (folder_ / folder).string();
  }
  fs::path folder_;
};

TEST_F(Programs, MayInitTwiceAndAgainAfterShutdown) {
  const Outcome o = Scenario("twice");
  EXPECT_EQ(o.status, 0) << o.output;
  EXPECT_THAT(o.output, HasSubstr("6 mine\nstill there, mine\n0\n"));
  EXPECT_THAT(o.output, HasSubstr("between: Ray has not been started yet"));
  EXPECT_THAT(o.output, HasSubstr("\n21\n"));
  for (const char* what : {"old ref: ", "old argument: "}) {
    EXPECT_THAT(o.output,
                HasSubstr(std::string(what) + "this ray::ObjectRef is of a session that has ended"));
  }
  EXPECT_THAT(o.output, Not(HasSubstr("nothing was thrown")));
}

TEST_F(Programs, AWorkerThatEndsBeforeInitIsAnErrorOfTheTask) {
  const Outcome o = Scenario("early " + File("mark"));
  EXPECT_EQ(o.status, 0) << o.output;
  EXPECT_THAT(o.output, HasSubstr("a worker was here"));
  EXPECT_THAT(o.output, HasSubstr(std::string("'") + SCENARIOS + "' was executed"));
  EXPECT_THAT(o.output, HasSubstr("exited with status 0 before it had called ray::Init"));
  EXPECT_THAT(o.output, Not(HasSubstr("nothing was thrown")));
}

TEST_F(Programs, OutputOfTasksArrivesInLines) {
  const Outcome o = Scenario("output");
  EXPECT_EQ(o.status, 0) << o.output;
  EXPECT_THAT(o.output, HasSubstr("a line"));
  EXPECT_THAT(o.output, HasSubstr("the other half"));
  EXPECT_THAT(o.output, HasSubstr("before Init\n"));
  EXPECT_THAT(o.output, HasSubstr("exit handler\n"));
}

TEST_F(Programs, DeathsAndExceptionsHaveNames) {
  const Outcome o = Scenario("deaths " + File("count"));
  EXPECT_EQ(o.status, 0) << o.output;
  EXPECT_THAT(o.output, HasSubstr("status 3"));
  EXPECT_THAT(
      o.output,
      HasSubstr("packing: the task MakeRefusing failed with std::length_error: its result could not be "
                "packed: will not be packed"));
  EXPECT_THAT(o.output, HasSubstr("retried 2"));
  EXPECT_THAT(o.output, HasSubstr("not retried: the task Flaky failed with std::runtime_error: flaky"));
}

TEST_F(Programs, WrongCallsSayWhatIsWrong) {
  const Outcome o = Scenario("calls");
  EXPECT_EQ(o.status, 0) << o.output;
  EXPECT_THAT(o.output, Not(HasSubstr("nothing was thrown")));
  EXPECT_THAT(o.output, HasSubstr("unregistered: Function not found. Please use RAY_REMOTE"));
  EXPECT_THAT(o.output, HasSubstr(std::string("addr2line -Cfe ") + SCENARIOS));
  EXPECT_THAT(o.output, HasSubstr("of type int (*)()"));
  EXPECT_THAT(o.output, HasSubstr("zero: Resource values should be positive"));
  EXPECT_THAT(o.output, HasSubstr("nameless: Resource values should be positive"));
  EXPECT_THAT(o.output, HasSubstr("negative: Resource values should be positive"));
  EXPECT_THAT(o.output, HasSubstr("fraction: A resource value should be an integer"));
  EXPECT_THAT(o.output, HasSubstr("timeout: Get timed out after 50 ms: 1 of 1"));
  EXPECT_THAT(o.output, HasSubstr("many timeout: Get timed out after 50 ms: 1 of 2"));
  EXPECT_THAT(o.output, HasSubstr("wait none: ray::Wait: num_objects must be between 1 and"));
  EXPECT_THAT(o.output, HasSubstr("wait more: ray::Wait: num_objects must be between 1 and"));
  EXPECT_THAT(o.output, HasSubstr("wait twice: ray::Wait: an object stands in the list twice"));
  EXPECT_THAT(o.output, HasSubstr("bad id: an object id has 28 bytes, not 5"));
  EXPECT_THAT(o.output, HasSubstr("it is an integer, which does not convert to std::map<int, int>"));
  EXPECT_THAT(o.output, HasSubstr("threads 2 1\n"));
  EXPECT_THAT(o.output, HasSubstr("token none\n"));
}

TEST_F(Programs, ThreadsMayAllCallAndShutdownFreesThem) {
  const Outcome o = Scenario("threads");
  EXPECT_EQ(o.status, 0) << o.output;
  EXPECT_THAT(o.output, HasSubstr("wrong 0\n"));
  EXPECT_THAT(o.output, HasSubstr("waiting: ray::Shutdown() was called while this thread waited"));
}

TEST_F(Programs, AForkedChildIsNobodyToTheRuntime) {
  const Outcome o = Scenario("fork");
  EXPECT_EQ(o.status, 0) << o.output;
  EXPECT_THAT(o.output, HasSubstr("child 0, still 2\n"));
}

TEST_F(Programs, ViewsStayValid) {
  const Outcome o = Scenario("views");
  EXPECT_EQ(o.status, 0) << o.output;
  EXPECT_THAT(o.output, HasSubstr("in place 1\n250000 9\n2.5\n"));
}

TEST_F(Programs, AFullStoreUsesTheDiskOrSaysSo) {
  const Outcome o = Scenario("full");
  EXPECT_EQ(o.status, 0) << o.output;
  EXPECT_THAT(o.output, HasSubstr("right 20"));
  EXPECT_THAT(o.output, HasSubstr("full: an object of 160000"));
  EXPECT_THAT(o.output, HasSubstr("filled: "));
  EXPECT_THAT(o.output, Not(HasSubstr("nothing was thrown")));
}

TEST_F(Programs, WhatInitCannotDoItSays) {
  const auto thrown = [](const std::string& words, const std::string& text) {
    const Outcome o = Scenario(words);
    EXPECT_EQ(o.status, 7) << words << ": " << o.output;
    EXPECT_THAT(o.output, HasSubstr(text));
  };
  thrown("clash", "the remote function Same is there twice: RAY_REMOTE at a.cc:1 of ");
  thrown("local", "local_mode is not there");
  thrown("redis", "there is no Redis");
  thrown("lifetime for-ever",
         "--ray_default_actor_lifetime=for-ever: it is neither detached nor non_detached");
  thrown("init --no-such-option", "no-such-option");
  thrown("address /nowhere", "address \"/nowhere\" is no run directory");
  thrown("address ray://host:1", "the Ray client");
  thrown("path /nowhere", "code_search_path: /nowhere is neither a folder nor a file");
  thrown("path " + Libraries("empty", {}), "has no libraries");
}

TEST_F(Programs, AutoWantsARunningRuntime) {
  ::setenv("RAY_MPI_DIR", folder_.c_str(), 1);
  const Outcome o = Scenario("address auto");
  ::unsetenv("RAY_MPI_DIR");
  EXPECT_EQ(o.status, 7) << o.output;
  EXPECT_THAT(o.output, HasSubstr("there is no running ray-mpi of this user"));
}

TEST_F(Programs, TheCommandLineHasTheLastWord) {
  const Outcome o = Scenario("cli");
  EXPECT_EQ(o.status, 0) << o.output;
  EXPECT_THAT(o.output, HasSubstr("cli 2 3\n"));
}

TEST_F(Programs, LogLinesHaveLevelAndPlace) {
  const Outcome o = Scenario("log");
  EXPECT_EQ(o.status, 128 + SIGABRT) << o.output;
  EXPECT_THAT(o.output, HasSubstr(" INFO] scenarios.cc:"));
  EXPECT_THAT(o.output, HasSubstr(": a word 5\n"));
  EXPECT_THAT(o.output, Not(HasSubstr("not shown")));
  EXPECT_THAT(o.output, HasSubstr(": the last one\n"));
}

// ---- libraries --------------------------------------------------------------------------------------------

TEST_F(Programs, LibrariesOfAFolderAndByName) {
  const std::string one = Libraries("one", {"library_one"});
  const std::string two = Libraries("two", {"library_two"}) + "/library_two.so";
  const Outcome o = Launch(std::string(LIBRARY_DRIVER) + " " + one + " " + two);
  EXPECT_EQ(o.status, 0) << o.output;
  EXPECT_EQ(o.output.find("= -1"), std::string::npos) << o.output;
  EXPECT_THAT(
      o.output,
      HasSubstr("LibPlus = 3\nLibSum = 2000\nLibThrow: the task LibThrow failed with std::domain_error: "
                "from the library"));
  EXPECT_THAT(o.output, HasSubstr("LibNested = 6\nLibTwo = 22\nLibShared = 11\nLibClash = 2\n"
                                  "LibActor::Add = 6\nLibActor::Twice = 12\n"));
}

TEST_F(Programs, AMissingFunctionNamesThePlaceAndWhatIsThere) {
  const Outcome o = Launch(std::string(LIBRARY_DRIVER) + " " + Libraries("one", {"library_one"}));
  EXPECT_EQ(o.status, 0) << o.output;
  EXPECT_THAT(o.output,
              HasSubstr("no RAY_REMOTE names the function LibTwo in the libraries of " + File("one")));
  EXPECT_THAT(o.output, HasSubstr("which has: Lib"));
}

TEST_F(Programs, ALibraryOfAnotherVersionIsRefused) {
  const Outcome o =
      Launch(std::string(LIBRARY_DRIVER) + " " + Libraries("old", {"library_one", "library_old"}));
  EXPECT_THAT(o.output, HasSubstr("LibPlus = 3\n"));  // the good one works
  EXPECT_THAT(o.output,
              HasSubstr("library_old.so was built for another version of ray-mpi: its headers are of 0.0.9"));
}

TEST_F(Programs, ABrokenLibraryIsNamed) {
  const std::string folder = Libraries("broken", {"library_one"});
  FILE* const file = std::fopen((folder + "/broken.so").c_str(), "w");
  std::fputs("no library", file);
  std::fclose(file);
  const Outcome o = Launch(std::string(LIBRARY_DRIVER) + " " + folder);
  EXPECT_THAT(o.output, HasSubstr("LibPlus = 3\n"));
  EXPECT_THAT(o.output, HasSubstr("cannot load " + folder + "/broken.so"));
}

TEST_F(Programs, TwoLibrariesWithOneNameAreAClash) {
  const Outcome o =
      Launch(std::string(LIBRARY_DRIVER) + " " + Libraries("clash", {"library_two", "library_clash"}));
  EXPECT_THAT(o.output, HasSubstr("LibTwo = 22\n"));
  EXPECT_THAT(o.output, HasSubstr("the remote function LibClash is there twice"));
}

TEST_F(Programs, TheWorkerProgramByItselfSaysWhatItIs) {
  const Outcome o = Launch(CPP_WORKER);
  EXPECT_EQ(o.status, 2);
  EXPECT_THAT(o.output, HasSubstr("is started by the runtime"));
}

// ---- under the command ------------------------------------------------------------------------------------

TEST_F(Programs, RunUnderTheCommandWithItsStatus) {
  const std::string run = std::string(RAY_MPI) + " --num-cpus 2 --object-store-memory 128M ";
  const Outcome good = Launch(run + SCENARIOS + " twice");
  EXPECT_EQ(good.status, 0) << good.output;
  EXPECT_THAT(good.output, HasSubstr("head_args"));  // a line says that they are ignored
  const Outcome bad = Launch(run + SCENARIOS + " local");
  EXPECT_EQ(bad.status, 7) << bad.output;
}

}  // namespace
