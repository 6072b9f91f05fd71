// SPDX-License-Identifier: Apache-2.0
#include "runtime/gcs/actor_names.h"

namespace rmpi {

const ActorNames::Named* ActorNames::Find(const std::string& ray_namespace, const std::string& name) const {
  const auto it = names_.find({ray_namespace, name});
  return it == names_.end() ? nullptr : &it->second;
}

void ActorNames::Add(const std::string& ray_namespace, const std::string& name, const ObjectId& actor,
                     Blob about) {
  names_.emplace(Key{ray_namespace, name}, Named{actor, std::move(about)});
}

void ActorNames::OnRequest(const Address& from, const ActorName& m) {
  const Key key{m.ray_namespace, m.name};
  const auto it = names_.find(key);
  ActorNameReply reply;
  reply.nonce = m.nonce;
  if (m.op == ActorNameOp::kRemove) {
    if (it != names_.end() && it->second.actor == m.actor) names_.erase(it);
  } else if (m.op == ActorNameOp::kList) {
    for (const auto& [k, named] : names_) {
      if (m.everywhere || k.first == m.ray_namespace) reply.names.push_back(k);
    }
  } else if (it != names_.end()) {
    reply.found = true;
    reply.actor = it->second.actor;
    reply.about = it->second.about;
  } else if (m.op == ActorNameOp::kRegister) {
    Add(m.ray_namespace, m.name, m.actor, m.about);
  }
  if (m.nonce != 0) outbox_->Send(from, MsgType::kActorNameReply, reply);
}

void ActorNames::OnEof(const Address& who) {
  std::erase_if(names_, [&](const auto& n) { return n.second.actor.owner() == who; });
}

void ActorNames::OnNodeDead(uint32_t node) {
  std::erase_if(names_, [&](const auto& n) { return n.second.actor.owner().node == node; });
}

}  // namespace rmpi
