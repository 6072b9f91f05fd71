// SPDX-License-Identifier: Apache-2.0
#include "runtime/gcs/gcs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <span>

#include "tests/gcs/recorder.h"

namespace rmpi {
namespace {

const Address kDriver{1, 1, 0, 1};

class GcsTest : public testing::Test, public Gcs::Host {
 protected:
  void Start(uint32_t expected) {
    GcsOptions options;
    options.run_id = 9;
    options.expected_nodes = expected;
    options.hosts = {"a", "b", "c"};
    options.heartbeats = tree_;
    options.host_features = {{"b", {"ib", "not a name", "avx512"}}};
    gcs_ = std::make_unique<Gcs>(options, &out_, this);
  }
  uint32_t Join(const std::string& host, bool later = false) {
    NodeRecord r;
    r.rank = later ? -joined_ : joined_;
    r.hostname = host;
    r.labels = {{sched::kHostLabel, host}};
    r.total = {{"CPU", 20000}};
    return gcs_->OnJoin(r, now_);
  }
  template <class M>
  void Tell(const Address& from, MsgType type, const M& m) {
    Deliver(gcs_.get(), from, GcsAddress(), type, m, now_);
  }
  void Pass(TimeNs span) {
    for (const TimeNs end = now_ + span; now_ < end;) {
      now_ += 100 * kMillisecond;
      for (uint32_t node : beating_) Tell(RayletOf(node), MsgType::kHeartbeat, Heartbeat{});
      gcs_->OnTimer(now_);
    }
  }
  JobId StartJob() {
    JobMessage m;
    m.driver = kDriver;
    m.nonce = 5;
    Tell(RayletOf(1), MsgType::kJobStart, m);
    return out_.Last<JobMessage>(MsgType::kJobStartReply).job;
  }
  void EndJob(JobId job) {
    JobMessage m;
    m.job = job;
    m.driver = kDriver;
    m.nonce = 77;
    Tell(RayletOf(1), MsgType::kJobEnd, m);
  }

  void OnNodeJoined(const NodeRecord&) override { ++joined_; }
  void OnNodeDead(uint32_t node) override { dead_.push_back(node); }
  void Warn(const std::string&) override {}
  void OnBringUpFailed(const std::string& text) override { failed_ = text; }

  Recorder out_;
  std::unique_ptr<Gcs> gcs_;
  TimeNs now_ = kSecond;
  int joined_ = 0;
  std::string failed_;
  std::vector<uint32_t> dead_;
  std::vector<uint32_t> beating_;
  HeartbeatTreeOptions tree_;
};

TEST_F(GcsTest, RanksThatDoNotJoinAreNamed) {
  Start(4);
  Join("a");
  Join("b");
  beating_ = {2};
  Pass(59 * kSecond);
  EXPECT_EQ(failed_, "");
  Pass(2 * kSecond);
  EXPECT_EQ(failed_,
            "the run did not come up within 60 s (--bringup-timeout): rank 2 on c, rank 3 did not join");
}

TEST_F(GcsTest, ACompleteRunHasNoDeadlineAnyMore) {
  Start(2);
  Join("a");
  Join("b");
  beating_ = {2};
  Pass(70 * kSecond);
  EXPECT_EQ(failed_, "");
}

TEST_F(GcsTest, AClosedConnectionIsADeath) {
  Start(3);
  Join("a");
  Join("b");
  gcs_->OnRankClosed(1, now_);
  EXPECT_EQ(dead_, std::vector<uint32_t>{2});
  EXPECT_EQ(failed_, "");
  gcs_->OnRankClosed(1, now_);
  EXPECT_EQ(dead_.size(), 1U);
  gcs_->OnRankClosed(2, now_);  // not joined yet: nobody has counted on it, so nobody else would tell
  EXPECT_EQ(failed_, "rank 2 on c died before it had joined the run: its own message says why");
}

TEST_F(GcsTest, ANodeThatJoinsLaterIsNoRankOfTheLaunch) {
  Start(2);
  Join("a");
  NodeRecord later;
  later.rank = -2;
  later.hostname = "c";
  EXPECT_EQ(gcs_->OnJoin(later, now_), 2U);
  EXPECT_FALSE(gcs_->complete());  // rank 1 is still missing
  Join("b");
  EXPECT_TRUE(gcs_->complete());
  gcs_->OnRankClosed(7, now_);  // one that connected, and went before it had joined
  EXPECT_EQ(failed_, "");
  gcs_->OnRankClosed(2, now_);
  EXPECT_EQ(dead_, std::vector<uint32_t>{2});
  EXPECT_THAT(gcs_->nodes().at(2).death_reason, testing::HasSubstr("joined later"));
}

TEST_F(GcsTest, AllNodesAreAskedHowTheRunIsAndOneThatIsSilentIsNotWaitedFor) {
  Start(2);
  Join("a");
  Join("b");
  Tell(RayletOf(1), MsgType::kStats, Nonce{7});
  Tell(RayletOf(2), MsgType::kStats, Nonce{8});  // the same round
  EXPECT_EQ(out_.Count(MsgType::kStats), 2U);
  NodeStatus said;
  said.nonce = out_.Last<Nonce>(MsgType::kStats).nonce;
  Shape shape;
  shape.resources = {{"lamp", 10000}};
  said.waiting = {{shape, 4, false, ""}};
  Tell(RayletOf(1), MsgType::kStatsReply, said);
  Tell(RayletOf(1), MsgType::kStatsReply, said);  // twice is nothing new
  EXPECT_EQ(out_.Count(MsgType::kStatsReply), 0U);
  beating_ = {1, 2};
  Pass(StatusRound::kPatience + kSecond);
  EXPECT_EQ(out_.Count(MsgType::kStatsReply), 2U);
  Address to;
  const auto reply = out_.Last<RunStatus>(MsgType::kStatsReply, &to);
  EXPECT_EQ(to, RayletOf(2));
  EXPECT_EQ(reply.nonce, 8U);
  EXPECT_EQ(reply.nodes.size(), 2U);
  ASSERT_EQ(reply.details.size(), 1U);
  EXPECT_EQ(reply.details[0].first, 1U);
  ASSERT_EQ(reply.pending.size(), 1U);
  EXPECT_EQ(reply.pending[0].count, 4U);
  EXPECT_TRUE(reply.pending[0].infeasible);
  EXPECT_THAT(reply.pending[0].reason, testing::HasSubstr("lamp"));
  Tell(RayletOf(2), MsgType::kStatsReply, said);  // too late: of a round that is over
  // The next round waits for nobody who is dead.
  Tell(RayletOf(1), MsgType::kStats, Nonce{9});
  said.nonce = out_.Last<Nonce>(MsgType::kStats).nonce;
  Tell(RayletOf(1), MsgType::kStatsReply, said);
  gcs_->OnRankClosed(1, now_);
  EXPECT_EQ(out_.Count(MsgType::kStatsReply), 3U);
}

TEST_F(GcsTest, ADrainedNodeGetsNothingNewAndThenGoes) {
  Start(1);
  Join("a");
  Join("b", true);
  EXPECT_FALSE(gcs_->Drain({kHeadNode, kSecond, "a test"}).ok());
  EXPECT_FALSE(gcs_->Drain({7, kSecond, "a test"}).ok());
  ASSERT_TRUE(gcs_->Drain({2, kSecond, "a test"}).ok());
  Address to;
  EXPECT_EQ(out_.Last<DrainNode>(MsgType::kDrainNode, &to).timeout_ns, kSecond);
  EXPECT_EQ(to, RayletOf(2));
  EXPECT_TRUE(gcs_->nodes().at(2).draining);
  Demand d;
  d.owner = kDriver;
  d.shape_key = 1;
  d.count = 3;
  d.shape.strategy = Strategy::kSpread;  // over all nodes but that
  d.shape.resources = {{"CPU", 10000}};
  Tell(RayletOf(1), MsgType::kDemand, d);
  out_.Last<Demand>(MsgType::kAssign, &to);
  EXPECT_EQ(to, RayletOf(1));
  Drained said;
  said.workers = 1;
  Tell(RayletOf(2), MsgType::kDrained, said);
  EXPECT_EQ(out_.Count(MsgType::kShutdown), 0U);
  said.over = true;
  Tell(RayletOf(2), MsgType::kDrained, said);
  EXPECT_EQ(out_.Last<rmpi::Shutdown>(MsgType::kShutdown, &to).status, 0);
  EXPECT_EQ(to, RayletOf(2));
  gcs_->OnRankClosed(1, now_);
  EXPECT_THAT(gcs_->nodes().at(2).death_reason, testing::HasSubstr("it was drained (a test) and has left"));
}

TEST_F(GcsTest, ANodeThatDiesWhileItIsDrainedSaysSo) {
  Start(2);
  Join("a");
  Join("b");
  Tell(RayletOf(2), MsgType::kDrainNode, DrainNode{2, kSecond, "a signal"});
  EXPECT_TRUE(gcs_->nodes().at(2).draining);
  gcs_->OnRankClosed(1, now_);
  EXPECT_THAT(gcs_->nodes().at(2).death_reason, testing::HasSubstr("while it was being drained (a signal)"));
}

TEST_F(GcsTest, ADrainedRankOfTheLaunchStaysUntilTheRunEnds) {
  Start(2);
  Join("a");
  Join("b");
  ASSERT_TRUE(gcs_->Drain({2, kSecond, "a test"}).ok());
  ASSERT_TRUE(gcs_->Drain({2, kMillisecond, "somebody in a hurry"}).ok());
  EXPECT_EQ(out_.Count(MsgType::kDrainNode), 2U) << "it may have to be sooner";
  Drained over;
  over.over = true;
  Tell(RayletOf(2), MsgType::kDrained, over);
  EXPECT_EQ(out_.Count(MsgType::kShutdown), 0U);
  EXPECT_TRUE(gcs_->nodes().at(2).alive);
  EXPECT_TRUE(gcs_->nodes().at(2).drained);
  EXPECT_TRUE(gcs_->Drain({2, kSecond, "once more"}).ok());
  EXPECT_EQ(out_.Count(MsgType::kDrainNode), 2U);
  Tell(kDriver, MsgType::kNodesRequest, Nonce{3});
  const NodesReply seen = out_.Last<NodesReply>(MsgType::kNodesReply);
  EXPECT_TRUE(seen.nodes[1].alive);
  EXPECT_TRUE(seen.nodes[1].total.empty()) << "nobody can have any of it";
  gcs_->Shutdown(0, "test");
  EXPECT_EQ(out_.Count(MsgType::kShutdown), 2U);
  gcs_->OnRankClosed(1, now_);
  EXPECT_THAT(gcs_->nodes().at(2).death_reason, testing::HasSubstr("it had been drained (a test)"));
}

TEST_F(GcsTest, WhoDrainsFromOutsideHearsHowFarItIs) {
  Start(2);
  Join("a");
  Join("b");
  DrainRequest ask;
  ask.nonce = 1;
  ask.node = "b";
  ask.timeout_ns = 7;
  ask.by = "a test";
  Tell(RayletOf(1), MsgType::kDrainRequest, ask);
  EXPECT_EQ(out_.Last<DrainNode>(MsgType::kDrainNode).timeout_ns, 7);
  Address to;
  DrainReply reply = out_.Last<DrainReply>(MsgType::kDrainReply, &to);
  EXPECT_EQ(to, RayletOf(1));
  EXPECT_EQ(reply.number, 2U);
  EXPECT_TRUE(reply.stays);
  ask.nonce = 2;
  ask.number = 2;
  ask.seen = reply.version;
  Tell(RayletOf(1), MsgType::kDrainRequest, ask);
  EXPECT_EQ(out_.Count(MsgType::kDrainReply), 1U) << "no news";
  Drained said;
  said.workers = 3;
  for (int i = 0; i < 2; ++i) Tell(RayletOf(2), MsgType::kDrained, said);
  EXPECT_EQ(out_.Count(MsgType::kDrainReply), 2U);
  reply = out_.Last<DrainReply>(MsgType::kDrainReply);
  EXPECT_EQ(reply.nonce, 2U);
  EXPECT_EQ(reply.report.workers, 3U);
  ask.nonce = 3;
  ask.seen = reply.version;
  Tell(RayletOf(1), MsgType::kDrainRequest, ask);
  gcs_->OnRankClosed(1, now_);
  reply = out_.Last<DrainReply>(MsgType::kDrainReply);
  EXPECT_EQ(reply.nonce, 3U);
  EXPECT_THAT(reply.death, testing::HasSubstr("while it was being drained"));
}

TEST_F(GcsTest, WhatCannotBeDrainedIsRefusedWithWhatThereIs) {
  Start(3);
  Join("a");
  Join("b.cluster");
  Join("c");
  Join("c", true);
  const auto refused = [&](const std::string& node) {
    DrainRequest ask;
    ask.node = node;
    Tell(RayletOf(1), MsgType::kDrainRequest, ask);
    return out_.Last<DrainReply>(MsgType::kDrainReply).refused;
  };
  EXPECT_THAT(refused("d"),
              testing::AllOf(testing::HasSubstr("'d'"), testing::HasSubstr("rank 1 on b.cluster")));
  EXPECT_THAT(refused(""), testing::HasSubstr("There are: "));
  EXPECT_THAT(refused("c"), testing::HasSubstr("may be any of 2 nodes"));
  EXPECT_THAT(refused("c"), testing::HasSubstr("joined later on c, id " + NodeHex(9, 4).substr(0, 12)));
  EXPECT_THAT(refused("0"), testing::HasSubstr("head"));
  EXPECT_THAT(refused("3"), testing::HasSubstr("no node"));
  EXPECT_EQ(out_.Count(MsgType::kDrainNode), 0U);
  EXPECT_EQ(refused(NodeHex(9, 4).substr(0, 12)), "");
  EXPECT_EQ(refused("b"), "");
  EXPECT_EQ(refused("2"), "");
  EXPECT_EQ(out_.Count(MsgType::kDrainNode), 3U);
  gcs_->DeclareDead(3, "test", now_);
  EXPECT_THAT(refused("2"), testing::HasSubstr("no node"));
}

TEST_F(GcsTest, NodesAreNumberedAndIntroduced) {
  Start(2);
  EXPECT_EQ(Join("a"), kHeadNode);
  EXPECT_FALSE(gcs_->complete());
  EXPECT_EQ(Join("b"), 2U);
  EXPECT_TRUE(gcs_->complete());
  EXPECT_EQ(joined_, 2);
  Address to;
  EXPECT_EQ(out_.Last<rmpi::Join>(MsgType::kNodeAdded, &to).record.hostname, "b");
  EXPECT_EQ(to, RayletOf(1));
  const Joined reply = out_.Last<Joined>(MsgType::kJoined, &to);
  EXPECT_EQ(to, RayletOf(2));
  EXPECT_EQ(reply.run_id, 9U);
  ASSERT_EQ(reply.nodes.size(), 1U);
  EXPECT_EQ(reply.nodes[0].hostname, "a");
}

TEST_F(GcsTest, ANodeIsToldTheLabelsThatTheHeadAdds) {
  Start(2);
  Join("a");
  EXPECT_EQ(out_.Last<Joined>(MsgType::kJoined).labels,
            (sched::Labels{{sched::kHostLabel, "a"}, {sched::kNodeIdLabel, NodeHex(9, 1)}}));
  Join("b");
  const sched::Labels labels = out_.Last<Joined>(MsgType::kJoined).labels;
  ASSERT_EQ(labels.size(), 4U) << "one feature is no label";
  EXPECT_NE(sched::LabelOf(labels, "slurm.feature/ib"), nullptr);
  EXPECT_EQ(*sched::LabelOf(labels, "slurm.feature/avx512"), "true");
  EXPECT_EQ(gcs_->nodes().at(2).labels, labels);
}

TEST_F(GcsTest, AskedForTheNodesItWaitsForAllOfThem) {
  Start(2);
  Join("a");
  Tell(kDriver, MsgType::kNodesRequest, Nonce{3});
  EXPECT_EQ(out_.Count(MsgType::kNodesReply), 0U);
  Join("b");
  const NodesReply reply = out_.Last<NodesReply>(MsgType::kNodesReply);
  EXPECT_EQ(reply.nonce, 3U);
  EXPECT_EQ(reply.nodes.size(), 2U);
}

TEST_F(GcsTest, ASilentNodeIsDeclaredDeadOnce) {
  Start(3);
  for (const char* host : {"a", "b", "c"}) Join(host);
  beating_ = {3};
  Pass(3500 * kMillisecond);
  EXPECT_TRUE(dead_.empty());
  Pass(2 * kSecond);
  EXPECT_EQ(dead_, std::vector<uint32_t>{2});
  EXPECT_EQ(out_.Count(MsgType::kNodeDead), 2U) << "to both that live";
  const NodeRecord record = out_.Last<rmpi::Join>(MsgType::kNodeDead).record;
  EXPECT_FALSE(record.alive);
  EXPECT_NE(record.death_reason.find("no heartbeat"), std::string::npos);
  Tell(RayletOf(2), MsgType::kHeartbeat, Heartbeat{});
  Pass(5 * kSecond);
  EXPECT_EQ(dead_.size(), 1U);
}

TEST_F(GcsTest, NodesAreHeardThroughAnother) {
  tree_ = {2, 3};
  Start(4);
  for (const char* host : {"a", "b", "c", "d"}) Join(host);
  EXPECT_EQ(out_.Count(MsgType::kReportTo), 2U);
  Address to;
  EXPECT_EQ(out_.Last<ReportTo>(MsgType::kReportTo, &to).node, 2U);
  EXPECT_EQ(to, RayletOf(4));
  Heartbeats frame;
  frame.own.sequence = 9;
  frame.others = {{3, {}}, {4, {}}};
  frame.others[0].second.sequence = 5;
  frame.others[0].second.changed = true;
  frame.others[0].second.available = {{"CPU", 10000}};
  Tell(RayletOf(2), MsgType::kHeartbeats, frame);
  EXPECT_EQ(out_.Last<Nonce>(MsgType::kHeartbeatAck, &to).nonce, 9U);
  EXPECT_EQ(to, RayletOf(2));
  EXPECT_EQ(sched::AmountOf(gcs_->nodes().at(3).available, "CPU"), 10000);
  frame.others[0].second.sequence = 4;  // has taken the longer way
  frame.others[0].second.available = {{"CPU", 0}};
  for (int i = 0; i < 10; ++i) {
    Tell(RayletOf(2), MsgType::kHeartbeats, frame);
    Pass(kSecond);
  }
  EXPECT_EQ(sched::AmountOf(gcs_->nodes().at(3).available, "CPU"), 10000);
  EXPECT_TRUE(dead_.empty());
  gcs_->OnRankClosed(1, now_);
  EXPECT_EQ(out_.Count(MsgType::kReportTo), 4U);
  EXPECT_EQ(out_.Last<ReportTo>(MsgType::kReportTo, &to).node, 3U);
  EXPECT_EQ(to, RayletOf(4));
  const size_t answers = out_.Count(MsgType::kHeartbeatAck);
  Tell(RayletOf(2), MsgType::kHeartbeats, frame);
  EXPECT_EQ(out_.Count(MsgType::kHeartbeatAck), answers) << "nor those whom it names";
  Pass(5 * kSecond);
  EXPECT_EQ(dead_, (std::vector<uint32_t>{2, 3, 4}));
}

TEST_F(GcsTest, ASuspensionIsNobodysSilence) {
  Start(2);
  Join("a");
  Join("b");
  beating_ = {2};
  Pass(2 * kSecond);
  now_ += 100 * kSecond;  // the whole job stood still
  gcs_->OnTimer(now_);
  EXPECT_TRUE(dead_.empty());
  Pass(10 * kSecond);
  EXPECT_TRUE(dead_.empty());
  beating_.clear();
  Pass(10 * kSecond);
  EXPECT_EQ(dead_, std::vector<uint32_t>{2});
}

TEST_F(GcsTest, AJobIsOverWhenEveryNodeHasCleanedUp) {
  Start(2);
  Join("a");
  Join("b");
  const JobId job = StartJob();
  EndJob(job);
  EXPECT_EQ(out_.Count(MsgType::kJobEnd), 2U);
  JobMessage ack;
  ack.job = job;
  Tell(RayletOf(1), MsgType::kJobEndAck, ack);
  EXPECT_EQ(out_.Count(MsgType::kJobOverReply), 0U);
  Tell(RayletOf(2), MsgType::kJobEndAck, ack);
  Address to;
  EXPECT_EQ(out_.Last<Nonce>(MsgType::kJobOverReply, &to).nonce, 77U);
  EXPECT_EQ(to, kDriver);
}

TEST_F(GcsTest, ANodeThatNeverAnswersDoesNotHoldAJob) {
  Start(2);
  Join("a");
  Join("b");
  EndJob(StartJob());  // both beat, and do not answer
  Pass(4900 * kMillisecond);
  EXPECT_EQ(out_.Count(MsgType::kJobOverReply), 0U);
  Pass(200 * kMillisecond);
  EXPECT_EQ(out_.Count(MsgType::kJobOverReply), 1U);
}

TEST_F(GcsTest, TheDeathOfTheLastNodeToAnswerEndsAJob) {
  Start(2);
  Join("a");
  Join("b");
  const JobId job = StartJob();
  EndJob(job);
  JobMessage ack;
  ack.job = job;
  Tell(RayletOf(1), MsgType::kJobEndAck, ack);
  gcs_->DeclareDead(2, "test", now_);
  EXPECT_EQ(out_.Count(MsgType::kJobOverReply), 1U);
}

TEST_F(GcsTest, ADriverThatDiesBeforeItHasItsNumberEndsItsJob) {
  Start(2);
  Join("a");
  Join("b");
  const JobId job = StartJob();
  Eof eof;
  eof.who = kDriver;
  Tell(RayletOf(1), MsgType::kEof, eof);
  EXPECT_EQ(out_.Count(MsgType::kJobEnd), 2U);
  EXPECT_EQ(out_.Last<JobMessage>(MsgType::kJobEnd).job, job);
  Tell(RayletOf(1), MsgType::kEof, eof);
  EXPECT_EQ(out_.Count(MsgType::kJobEnd), 2U) << "once";
}

TEST_F(GcsTest, TheJobsOfADeadNodesDriversEnd) {
  Start(3);
  for (const char* host : {"a", "b", "c"}) Join(host);
  JobMessage start;
  start.driver = {2, 1, 0, 1};
  Tell(RayletOf(2), MsgType::kJobStart, start);
  const JobId job = out_.Last<JobMessage>(MsgType::kJobStartReply).job;
  const JobId other = StartJob();
  gcs_->DeclareDead(2, "test", now_);
  EXPECT_EQ(out_.Count(MsgType::kJobEnd), 2U) << "to both that live";
  EXPECT_EQ(out_.Last<JobMessage>(MsgType::kJobEnd).job, job);
  EXPECT_NE(job, other);
  JobMessage ack;
  ack.job = job;
  for (uint32_t node : {1U, 3U}) Tell(RayletOf(node), MsgType::kJobEndAck, ack);
  // Its number is forgotten: a new node hears of the other job alone.
  const size_t before = out_.Count(MsgType::kJobStartReply);
  Join("d");
  EXPECT_EQ(out_.Count(MsgType::kJobStartReply), before + 1);
}

TEST_F(GcsTest, TheJobOfDetachedActorsOutlivesItsDriver) {
  Start(1);
  Join("a");
  const JobId job = StartJob();
  KvRequest settings;
  settings.op = KvOp::kPut;
  settings.ns = "fun";
  settings.key = "job:" + Hex(job);
  settings.value = Blob::Copy(std::as_bytes(std::span("settings", 8)));
  Tell(kDriver, MsgType::kKvRequest, settings);
  const std::optional<JobId> detached = gcs_->StartDetachedJob(job);
  ASSERT_TRUE(detached);
  auto start = out_.Last<JobMessage>(MsgType::kJobStartReply);
  EXPECT_EQ(start.job, *detached);
  EXPECT_TRUE(start.detached);
  EXPECT_EQ(start.driver, kDriver);  // its output goes there
  Eof gone;
  gone.who = kDriver;
  Tell(RayletOf(1), MsgType::kEof, gone);
  EXPECT_EQ(out_.Count(MsgType::kJobEnd), 1U);
  EXPECT_EQ(out_.Last<JobMessage>(MsgType::kJobEnd).job, job);
  EXPECT_FALSE(gcs_->StartDetachedJob(job));
  JobMessage ack;
  ack.job = job;
  Tell(RayletOf(1), MsgType::kJobEndAck, ack);
  settings.op = KvOp::kGet;
  settings.nonce = 1;
  settings.key = "job:" + Hex(*detached);
  Tell(kDriver, MsgType::kKvRequest, settings);
  EXPECT_EQ(out_.Last<KvReply>(MsgType::kKvReply).value.size(), 8U);
  // A process in it may make others, which are of the same kind.
  EXPECT_TRUE(gcs_->StartDetachedJob(*detached));
  gcs_->EndDetachedJob(*detached, now_);
  EXPECT_EQ(out_.Last<JobMessage>(MsgType::kJobEnd).job, *detached);
  Tell(kDriver, MsgType::kKvRequest, settings);
  EXPECT_FALSE(out_.Last<KvReply>(MsgType::kKvReply).found);
}

TEST_F(GcsTest, MalformedMessagesAreIgnored) {
  Start(1);
  Join("a");
  MessageHeader header;
  header.src = RayletOf(1);
  header.dst = GcsAddress();
  const std::byte junk[3] = {};
  for (uint16_t type = 0; type < 200; ++type) {
    header.type = type;
    gcs_->OnMessage(header, junk, now_);
  }
  EXPECT_EQ(gcs_->nodes().size(), 1U);
}

}  // namespace
}  // namespace rmpi
