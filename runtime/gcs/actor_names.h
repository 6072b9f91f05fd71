// SPDX-License-Identifier: Apache-2.0
// Which actor has which name in which namespace. A name is its actor's from registration until its creator
// takes it back or is dead itself.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "runtime/core/outbox.h"

namespace rmpi {

class ActorNames {
 public:
  struct Named {
    ObjectId actor;
    Blob about;
  };

  explicit ActorNames(Outbox* outbox) : outbox_(outbox) {}

  // Null: the name is free.
  const Named* Find(const std::string& ray_namespace, const std::string& name) const;
  void Add(const std::string& ray_namespace, const std::string& name, const ObjectId& actor, Blob about);

  void OnRequest(const Address& from, const ActorName& m);
  void OnEof(const Address& who);
  void OnNodeDead(uint32_t node);
  size_t count() const { return names_.size(); }

 private:
  using Key = std::pair<std::string, std::string>;  // namespace, name

  Outbox* outbox_;
  std::map<Key, Named> names_;
};

}  // namespace rmpi
