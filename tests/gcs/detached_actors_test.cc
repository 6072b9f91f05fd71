// SPDX-License-Identifier: Apache-2.0
#include "runtime/gcs/detached_actors.h"

#include <gtest/gtest.h>

#include "tests/gcs/recorder.h"

namespace rmpi {
namespace {

const Address kCreator{2, 1, 0, 1};
const Address kOwner{2, 2, 0, 1};  // of the arguments
const Address kWorker{3, 1, 0, 1};
const JobId kJob{4}, kDetachedJob{9};

class DetachedActorsTest : public testing::Test, public DetachedActors::Host {
 protected:
  std::optional<JobId> StartDetachedJob(JobId of) override {
    if (of != kJob) return std::nullopt;
    ++started_;
    return kDetachedJob;
  }
  void EndDetachedJob(JobId job) override {
    EXPECT_EQ(job, kDetachedJob);
    ++ended_;
  }
  std::optional<Blob> ReadStored(const ObjectId& id, uint32_t) override {
    const auto it = stored_.find(id);
    return it == stored_.end() ? std::nullopt : std::optional<Blob>(it->second);
  }

  template <class M>
  void Tell(const Address& from, MsgType type, const M& m) {
    Deliver(&actors_, from, DetachedOwner(), type, m, now_);
  }
  static ObjectId Argument(uint64_t number) {
    return {{kJob, kOwner, TaskId::Sequence(TaskKind::kPut, number)}, 0, 0};
  }
  static Blob Bytes(const std::string& text) {
    return Blob::Copy({reinterpret_cast<const std::byte*>(text.data()), text.size()});
  }
  AdoptActor Creation(const std::string& name) {
    AdoptActor m;
    m.nonce = ++nonce_;
    m.job = kJob;
    m.ray_namespace = "space";
    m.name = name;
    m.about = Bytes("about");
    m.shape.actor = true;
    m.max_restarts = 1;
    WireTemplate t;
    t.function_name = "Till";
    Writer w;
    w(t);
    m.template_bytes = Blob::Copy(w.bytes());
    return m;
  }
  ObjectId Adopt(const AdoptActor& m) {
    Tell(kCreator, MsgType::kAdoptActor, m);
    return Answer().actor;
  }
  // A nameless one with one argument.
  AdoptActor CreationWith(uint64_t number) {
    AdoptActor m = Creation("");
    m.refs = {Argument(number)};
    m.top_level = 1;
    return m;
  }
  void LocateAt(const ObjectId& argument, uint64_t size) {
    Location at;
    at.id = argument;
    at.value.state = ValueState::kStored;
    at.value.size = size;
    at.value.places = {{2, 0, 4096}};
    Tell(kOwner, MsgType::kLocation, at);
  }
  void Pulled(const ObjectId& argument, const std::string& value) {
    stored_[argument] = Bytes(value);
    PullReply here;
    here.id = argument;
    here.place = {kHeadNode, 0, 64};
    Tell(RayletOf(1), MsgType::kPullReply, here);
  }
  AdoptActorReply Answer() {
    Address to;
    const auto reply = out_.Last<AdoptActorReply>(MsgType::kAdoptActorReply, &to);
    EXPECT_EQ(to, kCreator);
    EXPECT_EQ(reply.nonce, nonce_);
    return reply;
  }
  void AcknowledgeAll() {
    const std::vector<Recorder::Sent> sent = std::move(out_.sent);
    out_.sent.clear();
    for (const auto& s : sent) {
      if (s.type != MsgType::kRegister) continue;
      RefMessage m;
      Reader reader(s.body.bytes());
      reader(m);
      Tell(s.to, MsgType::kRegisterReply, m);
    }
  }
  Push GrantAndPush() {
    const auto request = out_.Last<LeaseRequest>(MsgType::kLeaseRequest);
    EXPECT_EQ(request.shape.job, kDetachedJob);
    Grant grant;
    grant.shape_key = request.shape_key;
    grant.epoch = request.epoch;
    grant.lease = 1;
    grant.worker = kWorker;
    Tell(RayletOf(kWorker.node), MsgType::kGrant, grant);
    Address to;
    const auto push = out_.Last<Push>(MsgType::kPush, &to);
    EXPECT_EQ(to, kWorker);
    return push;
  }
  void Kill(const ObjectId& actor) { Tell(kCreator, MsgType::kActorKill, ActorKill{actor, true}); }
  ActorState StateOf(const ObjectId& actor) {
    Tell(kCreator, MsgType::kActorLocate, ActorLocate{actor, false});
    return out_.Last<ActorState>(MsgType::kActorState);
  }
  static std::string TextOf(const ActorState& state) { return DecodeText(state.error.bytes()); }
  static std::string DecodeText(rmpi::Bytes bytes) {
    Reader reader(bytes);
    uint8_t type = 0;
    std::string message, context;
    reader(type, message, context);
    return message;
  }

  Recorder out_;
  ActorNames names_{&out_};
  DetachedActors actors_{&out_, &names_, this};
  std::map<ObjectId, Blob> stored_;
  TimeNs now_ = kSecond;
  uint64_t nonce_ = 0;
  int started_ = 0, ended_ = 0;
};

TEST_F(DetachedActorsTest, ANameIsGivenOnce) {
  const ObjectId first = Adopt(Creation("till"));
  EXPECT_EQ(first.owner(), DetachedOwner());
  EXPECT_EQ(first.task.job, kDetachedJob);
  Adopt(Creation("till"));
  EXPECT_TRUE(Answer().taken);
  EXPECT_EQ(Answer().actor, first);
  Adopt(Creation("other"));
  EXPECT_FALSE(Answer().taken);
  EXPECT_EQ(actors_.count(), 2U);
  EXPECT_EQ(started_, 1);
}

TEST_F(DetachedActorsTest, AnOverJobGetsNone) {
  AdoptActor m = Creation("till");
  m.job = JobId{5};
  Adopt(m);
  EXPECT_NE(Answer().refused, "");
  EXPECT_EQ(names_.count(), 0U);
  EXPECT_EQ(actors_.count(), 0U);
}

TEST_F(DetachedActorsTest, TheCreatorWaitsUntilItsRefsAreRegistered) {
  AdoptActor m = Creation("");
  m.refs = {Argument(1), Argument(2)};
  m.top_level = 1;
  Tell(kCreator, MsgType::kAdoptActor, m);
  EXPECT_EQ(out_.Count(MsgType::kRegister), 2U);
  EXPECT_EQ(out_.Count(MsgType::kAdoptActorReply), 0U);
  AcknowledgeAll();
  EXPECT_EQ(Answer().refused, "");
}

TEST_F(DetachedActorsTest, ItLivesWithoutHandlesAndItsJobEndsWithTheLastOne) {
  const ObjectId one = Adopt(Creation("one")), two = Adopt(Creation("two"));
  const Push push = GrantAndPush();
  Result constructed;
  constructed.task = push.task;
  constructed.values.resize(1);
  Tell(kWorker, MsgType::kResult, constructed);
  Eof creator;
  creator.who = kCreator;
  Tell(RayletOf(1), MsgType::kEof, creator);
  EXPECT_EQ(actors_.count(), 2U);
  EXPECT_NE(StateOf(one).phase, ActorPhase::kDead);
  Kill(one);
  EXPECT_EQ(ended_, 0);
  Kill(two);
  EXPECT_EQ(ended_, 1);
  EXPECT_EQ(actors_.count(), 0U);
  EXPECT_EQ(StateOf(two).phase, ActorPhase::kDead);
  EXPECT_EQ(out_.Last<ActorName>(MsgType::kActorName).op, ActorNameOp::kRemove);
}

TEST_F(DetachedActorsTest, AStoredArgumentIsCopiedAndOutlivesItsOwner) {
  Tell(kCreator, MsgType::kAdoptActor, CreationWith(1));
  AcknowledgeAll();
  LocateAt(Argument(1), 300'000);
  EXPECT_EQ(out_.Last<Pull>(MsgType::kPull).id, Argument(1));
  Pulled(Argument(1), "the value");
  EXPECT_EQ(out_.Last<RefMessage>(MsgType::kUnregister).id, Argument(1));
  Eof owner;
  owner.who = kOwner;
  Tell(RayletOf(1), MsgType::kEof, owner);
  Push push = GrantAndPush();
  ASSERT_EQ(push.resolved.size(), 1U);
  EXPECT_EQ(push.resolved[0].value.state, ValueState::kInline);
  EXPECT_EQ(push.resolved[0].value.bytes.size(), 9U);
  // Its worker dies: the next incarnation has it, too.
  Eof worker;
  worker.who = kWorker;
  worker.claimed = {{push.task, 0, false, false}};
  Tell(RayletOf(3), MsgType::kEof, worker);
  push = GrantAndPush();
  EXPECT_EQ(push.attempt, 1U);
  EXPECT_EQ(push.resolved[0].value.bytes.size(), 9U);
}

TEST_F(DetachedActorsTest, TheCreatorWaitsForTheCopyOfWhatIsThereButNotForWhatIsNot) {
  Tell(kCreator, MsgType::kAdoptActor, CreationWith(1));
  EXPECT_EQ(out_.sent[0].type, MsgType::kLocate);
  EXPECT_EQ(out_.sent[1].type, MsgType::kRegister);
  LocateAt(Argument(1), 300'000);
  AcknowledgeAll();
  EXPECT_EQ(out_.Count(MsgType::kAdoptActorReply), 0U);
  Pulled(Argument(1), "the value");
  EXPECT_EQ(out_.Count(MsgType::kAdoptActorReply), 1U);

  Tell(kCreator, MsgType::kAdoptActor, CreationWith(2));  // its task still runs
  AcknowledgeAll();
  EXPECT_EQ(out_.Count(MsgType::kAdoptActorReply), 1U);
}

TEST_F(DetachedActorsTest, AnArgumentThatIsTooLargeOrLostIsTheActorsDeath) {
  Tell(kCreator, MsgType::kAdoptActor, CreationWith(1));
  AcknowledgeAll();
  const ObjectId large = Answer().actor;
  LocateAt(Argument(1), DetachedActors::kMostCopied + 1);
  EXPECT_EQ(StateOf(large).phase, ActorPhase::kDead);
  EXPECT_NE(TextOf(StateOf(large)).find("Till could not be kept for it: it has 67108865 bytes"),
            std::string::npos);

  Tell(kCreator, MsgType::kAdoptActor, CreationWith(2));
  AcknowledgeAll();
  const ObjectId orphan = Answer().actor;
  Eof owner;
  owner.who = kOwner;
  Tell(RayletOf(1), MsgType::kEof, owner);
  EXPECT_EQ(StateOf(orphan).phase, ActorPhase::kDead);
  EXPECT_EQ(ended_, 2);
}

}  // namespace
}  // namespace rmpi
