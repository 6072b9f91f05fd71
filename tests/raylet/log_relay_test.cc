// SPDX-License-Identifier: Apache-2.0
#include "runtime/raylet/log_relay.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace rmpi {
namespace {

using std::string_literals::operator""s;

class LogRelayTest : public testing::Test {
 protected:
  LogRelayTest()
      : relay_(
            &loop_, "", "n1",
            [this](const WorkerOutput&, bool err, std::string_view task, std::string_view lines) {
              (err ? err_ : out_) += lines;
              by_ += std::string(task) + ";";
            },
            [this](JobId) {
              ++asked_;
              return ready_;
            }) {
    int out[2], err[2];
    EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
    EXPECT_EQ(pipe2(err, O_CLOEXEC), 0);
    write_out_.reset(out[1]);
    write_err_.reset(err[1]);
    relay_.Add(1, UniqueFd(out[0]), UniqueFd(err[0]));
    relay_.Find(1)->job = JobId{3};
  }
  void Say(const std::string& text) {
    ASSERT_EQ(write(write_out_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    Turn();
  }
  static void Write(const UniqueFd& to, const std::string& text) {
    ASSERT_EQ(write(to.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void Turn() {
    for (int i = 0; i < 4; ++i) loop_.Poll(0);
  }

  EventLoop loop_;
  bool ready_ = true;
  int asked_ = 0;
  std::string out_, err_;
  std::string by_;  // the names of the tasks, each with a semicolon
  UniqueFd write_out_, write_err_;
  LogRelay relay_;
};

TEST_F(LogRelayTest, PassesWholeLinesOnly) {
  Say("one\ntw");
  EXPECT_EQ(out_, "one\n");
  Say("o\n");
  EXPECT_EQ(out_, "one\ntwo\n");
  EXPECT_EQ(err_, "");
}

TEST_F(LogRelayTest, TheLastPartialLineComesWithTheEnd) {
  Say("no newline");
  EXPECT_EQ(out_, "");
  write_out_.reset();
  Turn();
  EXPECT_EQ(out_, "no newline\n");
  EXPECT_TRUE(relay_.Open(JobId{3}));
  write_err_.reset();
  Turn();
  EXPECT_FALSE(relay_.Open(JobId{3}));
  EXPECT_EQ(relay_.Find(1), nullptr);
}

TEST_F(LogRelayTest, AnEndlessLineIsCut) {
  for (int i = 0; i < 4; ++i) Say(std::string(40'000, 'x'));
  EXPECT_GT(out_.size(), 65'000U);
  EXPECT_NE(out_.find('\n'), std::string::npos);
}

TEST_F(LogRelayTest, ASlowDriverStopsTheReadingAndLosesNothing) {
  ready_ = false;
  Say("one\n");
  EXPECT_EQ(out_, "");
  EXPECT_TRUE(relay_.Resume());
  Turn();
  EXPECT_EQ(out_, "");
  ready_ = true;
  EXPECT_FALSE(relay_.Resume());
  Turn();
  EXPECT_EQ(out_, "one\n");
}

TEST_F(LogRelayTest, AWriterThatEndsWhileTheDriverIsSlowDoesNotKeepTheLoopBusy) {
  ready_ = false;
  Say("last words");
  write_out_.reset();
  Turn();
  const int before = asked_;
  for (int i = 0; i < 50; ++i) loop_.Poll(0);
  EXPECT_EQ(asked_, before) << "a hang-up is reported again and again";
  ready_ = true;
  relay_.Resume();
  Turn();
  EXPECT_EQ(out_, "last words\n");
}

TEST_F(LogRelayTest, FilesOfNodesWithTheSameProcessNumbersAreApart) {
  std::string folder = testing::TempDir() + "log-relay-XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  for (const std::string host : {"n1", "n2"}) {
    LogRelay relay(
        &loop_, folder, host, [](const WorkerOutput&, bool, std::string_view, std::string_view) {},
        [](JobId) { return true; });
    int out[2], err[2];
    ASSERT_EQ(pipe2(out, O_CLOEXEC), 0);
    ASSERT_EQ(pipe2(err, O_CLOEXEC), 0);
    UniqueFd write_out(out[1]), write_err(err[1]);
    relay.Add(1, UniqueFd(out[0]), UniqueFd(err[0]));
    relay.Find(1)->pid = 77;
    ASSERT_EQ(write(write_out.get(), "hello\n", 6), 6);
    write_out.reset();
    write_err.reset();
    Turn();
  }
  for (const std::string host : {"n1", "n2"}) {
    std::ifstream file(folder + "/worker-" + host + "-77.out");
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "hello\n") << host;
  }
  std::filesystem::remove_all(folder);
}

TEST_F(LogRelayTest, DrainReadsWhatIsThere) {
  ready_ = false;
  ASSERT_EQ(write(write_err_.get(), "bad\n", 4), 4);
  relay_.Drain(JobId{4});
  EXPECT_EQ(err_, "");
  relay_.Drain(JobId{3});
  EXPECT_EQ(err_, "bad\n");
}

std::string Framed(const std::string& task, const std::string& text) {
  return FrameHead(task, text.size()) + text;
}

TEST_F(LogRelayTest, LinesAreOfTheTaskThatWroteThemHoweverLateTheyAreRead) {
  Say(Framed("a", "one\ntwo\n") + Framed("b", "three\n") + "C code\n" + Framed("b", "four\n"));
  EXPECT_EQ(out_, "one\ntwo\nthree\nC code\nfour\n");
  EXPECT_EQ(by_, "a;b;;b;");
}

TEST_F(LogRelayTest, ALineMayHaveSeveralFramesAndEndsWithItsTask) {
  Say(Framed("a", "one "));
  Say(Framed("a", "line\n") + Framed("a", "open end"));
  EXPECT_EQ(out_, "one line\n");
  Say(Framed("b", "next\n") + Framed("b", "from Python, ") + "from C\n");
  EXPECT_EQ(out_, "one line\nopen end\nnext\nfrom Python, from C\n");
  EXPECT_EQ(by_, "a;a;b;") << out_;
}

TEST_F(LogRelayTest, DrainTellsALineWithoutEnd) {
  Say(Framed("a", "no newline"));
  relay_.Drain(JobId{3});
  EXPECT_EQ(out_, "no newline\n");
}

TEST(FrameReaderTest, AnyCutOfTheBytesGivesTheSame) {
  const std::string long_name(300, 'n');
  const std::string stream = "raw\0x"s + Framed("a", "text\n") + Framed("", "nobody\n") + "\0\x1frmp"s +
                             Framed(long_name, std::string(3000, 'y')) + "end" + Framed("a", "").substr(0, 9);
  std::string want;
  for (size_t step = stream.size(); step > 0; --step) {
    std::string got, last = "-";
    const auto sink = [&](std::string_view name, std::string_view text) {
      if (name != last) got += "[" + std::string(name) + "]";
      last = name;
      got += text;
    };
    FrameReader reader;
    for (size_t at = 0; at < stream.size(); at += step)
      reader.Feed(std::string_view(stream).substr(at, step), sink);
    reader.Finish(sink);
    if (want.empty()) want = got;
    ASSERT_TRUE(got == want) << "in steps of " << step;
  }
  EXPECT_EQ(want, "[]raw\0x[a]text\n[]nobody\n\0\x1frmp["s + long_name.substr(0, 255) + "]" +
                      std::string(3000, 'y') + "[]end" + Framed("a", "").substr(0, 9));
  EXPECT_EQ(FrameHead(long_name, 0).size() + FrameRoom(long_name), kMostFrameBytes);
}

TEST_F(LogRelayTest, TheLastWordsOnStderrAreKept) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "line " + std::to_string(i) + "\n";
  Write(write_err_, text);
  Turn();
  Write(write_err_, "the end, without its newline");  // still in the pipe, as at a crash
  std::string tail = relay_.TakeTail(1);
  EXPECT_EQ(tail.find("line 80\n"), std::string::npos);
  EXPECT_EQ(tail.find("line 81\n"), 0U);
  EXPECT_TRUE(tail.ends_with("line 99\nthe end, without its newline\n")) << tail;
}

TEST_F(LogRelayTest, TheLastWordsOutliveThePipes) {
  Write(write_err_, "terminate called\n" + std::string(10'000, 'x') + "\n");
  Turn();
  write_err_.reset();
  write_out_.reset();
  Turn();
  EXPECT_EQ(relay_.Find(1), nullptr);
  EXPECT_EQ(relay_.TakeTail(1), std::string(4095, 'x') + "\n");
  EXPECT_EQ(relay_.TakeTail(1), "") << "kept for one";
}

}  // namespace
}  // namespace rmpi
