// SPDX-License-Identifier: Apache-2.0
#include "runtime/gcs/actor_names.h"

#include <gtest/gtest.h>

#include "tests/gcs/recorder.h"

namespace rmpi {
namespace {

const Address kAlice{1, 1, 0, 1};
const Address kBob{2, 1, 0, 1};

class ActorNamesTest : public testing::Test {
 protected:
  ActorNameReply Ask(const Address& who, ActorNameOp op, const std::string& ns, const std::string& name,
                     const ObjectId& actor = {}) {
    ActorName m;
    m.nonce = ++nonce_;
    m.op = op;
    m.ray_namespace = ns;
    m.name = name;
    m.actor = actor;
    names_.OnRequest(who, m);
    Address to;
    const auto reply = out_.Last<ActorNameReply>(MsgType::kActorNameReply, &to);
    EXPECT_EQ(to, who);
    EXPECT_EQ(reply.nonce, nonce_);
    return reply;
  }
  static ObjectId ActorOf(const Address& creator, uint64_t number) {
    return {{JobId{1}, creator, TaskId::Sequence(TaskKind::kActorCreation, number)}, 0, 0};
  }

  Recorder out_;
  ActorNames names_{&out_};
  uint64_t nonce_ = 0;
};

TEST_F(ActorNamesTest, TheFirstOneHasTheName) {
  const ObjectId first = ActorOf(kAlice, 1);
  EXPECT_FALSE(Ask(kAlice, ActorNameOp::kRegister, "a", "till", first).found);
  const ActorNameReply taken = Ask(kBob, ActorNameOp::kRegister, "a", "till", ActorOf(kBob, 1));
  EXPECT_TRUE(taken.found);
  EXPECT_EQ(taken.actor, first);
  EXPECT_FALSE(Ask(kBob, ActorNameOp::kRegister, "b", "till", ActorOf(kBob, 1)).found);
  EXPECT_EQ(Ask(kBob, ActorNameOp::kFind, "a", "till").actor, first);
  EXPECT_FALSE(Ask(kBob, ActorNameOp::kFind, "a", "tills").found);
}

TEST_F(ActorNamesTest, OnlyItsOwnActorTakesANameBack) {
  const ObjectId first = ActorOf(kAlice, 1), second = ActorOf(kAlice, 2);
  Ask(kAlice, ActorNameOp::kRegister, "a", "till", first);
  Ask(kAlice, ActorNameOp::kRemove, "a", "till", second);
  EXPECT_EQ(names_.count(), 1U);
  Ask(kAlice, ActorNameOp::kRemove, "a", "till", first);
  EXPECT_EQ(names_.count(), 0U);
}

TEST_F(ActorNamesTest, NamesGoWithTheirCreators) {
  Ask(kAlice, ActorNameOp::kRegister, "a", "one", ActorOf(kAlice, 1));
  Ask(kBob, ActorNameOp::kRegister, "a", "two", ActorOf(kBob, 1));
  names_.OnEof(kAlice);
  EXPECT_FALSE(Ask(kBob, ActorNameOp::kFind, "a", "one").found);
  EXPECT_TRUE(Ask(kBob, ActorNameOp::kFind, "a", "two").found);
  names_.OnNodeDead(kBob.node);
  EXPECT_EQ(names_.count(), 0U);
}

TEST_F(ActorNamesTest, ListsOneNamespaceOrAll) {
  Ask(kAlice, ActorNameOp::kRegister, "a", "one", ActorOf(kAlice, 1));
  Ask(kAlice, ActorNameOp::kRegister, "b", "two", ActorOf(kAlice, 2));
  using Names = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(Ask(kBob, ActorNameOp::kList, "b", "").names, (Names{{"b", "two"}}));
  ActorName all;
  all.nonce = 99;
  all.op = ActorNameOp::kList;
  all.everywhere = true;
  names_.OnRequest(kBob, all);
  EXPECT_EQ(out_.Last<ActorNameReply>(MsgType::kActorNameReply).names, (Names{{"a", "one"}, {"b", "two"}}));
}

}  // namespace
}  // namespace rmpi
