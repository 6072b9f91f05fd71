// SPDX-License-Identifier: Apache-2.0
// Names of things. Public ids keep Ray's lengths (task 24 bytes, object 28, job 4); docs/wire.md gives the
// bits.
//
//   Address  {node, slot, generation}: one process. Node ids come from the GCS and are never reused; a slot's
//            generation grows each time a new process takes it. They are not MPI ranks.
//   TaskId   {job, owner's Address, kind, sequence}: minted by the owner, no round trip.
//   ObjectId {TaskId, index}: index 0 is the first return; a put is a sequence of its own with index 0.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

namespace rmpi {

struct Address {
  uint32_t node = 0;  // 0: nobody
  uint16_t slot = 0;  // 0: the raylet of that node; on the head's also kGcsSlot and kDetachedSlot
  uint16_t reserved = 0;
  uint32_t generation = 0;

  bool nil() const { return node == 0; }
  auto operator<=>(const Address&) const = default;
};
static_assert(sizeof(Address) == 12);

constexpr uint16_t kRayletSlot = 0;
constexpr uint16_t kGcsSlot = 0xFFFF;
constexpr uint16_t kDetachedSlot = 0xFFFE;  // the owner of detached actors
constexpr uint32_t kHeadNode = 1;

inline Address RayletOf(uint32_t node) { return {node, kRayletSlot, 0, 1}; }
inline Address GcsAddress() { return {kHeadNode, kGcsSlot, 0, 1}; }
inline Address DetachedOwner() { return {kHeadNode, kDetachedSlot, 0, 1}; }
// Not a process of its own with lanes: part of a raylet.
inline bool InRaylet(const Address& a) { return a.slot == kRayletSlot || a.slot >= kDetachedSlot; }

// The language that a task, or the program of a job, is written in.
constexpr uint8_t kPythonLanguage = 1, kCppLanguage = 2;

struct JobId {
  uint32_t value = 0;
  auto operator<=>(const JobId&) const = default;
};

// What a sequence number of an owner names.
enum class TaskKind : uint16_t { kNormal = 0, kPut = 1, kDriver = 2, kActorCreation = 3, kActorCall = 4 };

// What a task gives besides its returns.
enum class StreamKind : uint8_t {
  kNone = 0,
  kItems = 1,    // objects, one by one, to who called
  kDynamic = 2,  // the same, and its one return has refs to all of them
};

struct TaskId {
  JobId job;
  Address owner;
  uint64_t sequence = 0;  // on the wire: 48 bits of sequence, 16 bits of kind

  bool nil() const { return owner.nil(); }
  TaskKind kind() const { return static_cast<TaskKind>(sequence >> 48); }
  uint64_t number() const { return sequence & ((uint64_t{1} << 48) - 1); }
  static uint64_t Sequence(TaskKind kind, uint64_t number) {
    return static_cast<uint64_t>(kind) << 48 | number;
  }
  auto operator<=>(const TaskId&) const = default;
};
static_assert(sizeof(TaskId) == 24);

struct ObjectId {
  TaskId task;
  uint32_t index = 0;
  uint32_t reserved = 0;  // in memory only; 28 bytes on the wire

  bool nil() const { return task.nil(); }
  const Address& owner() const { return task.owner; }
  auto operator<=>(const ObjectId&) const = default;
};
static_assert(sizeof(ObjectId) == 32);

constexpr size_t kTaskIdSize = 24;
constexpr size_t kObjectIdSize = 28;

std::array<uint8_t, kTaskIdSize> ToBinary(const TaskId& id);
std::array<uint8_t, kObjectIdSize> ToBinary(const ObjectId& id);
// Return false when `bytes` has another length or names no owner.
bool FromBinary(std::string_view bytes, TaskId* id);
bool FromBinary(std::string_view bytes, ObjectId* id);

std::string Hex(const TaskId& id);
std::string Hex(const ObjectId& id);
std::string Hex(JobId id);
// An actor's public id: 16 bytes (32 hex digits) as Ray's, made of the id of the object that stands for it.
std::array<uint8_t, 16> ActorBinary(const ObjectId& actor);
std::string ActorHex(const ObjectId& actor);
// A node's public id: 28 bytes (56 hex digits) as Ray's, made of the run's random id and the node number.
std::string NodeHex(uint64_t run, uint32_t node);
// A placement group's public id: 18 bytes (36 hex digits) as Ray's, made of the run's id and its number.
std::string GroupHex(uint64_t run, uint32_t group);
std::string ToString(const Address& a);  // "node.slot#generation", for messages to people

inline uint64_t Mix(uint64_t x) {  // finaliser of splitmix64: spreads consecutive sequences over buckets
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

}  // namespace rmpi

template <>
struct std::hash<rmpi::Address> {
  size_t operator()(const rmpi::Address& a) const noexcept {
    return rmpi::Mix(uint64_t{a.node} << 32 ^ uint64_t{a.slot} << 48 ^ a.generation);
  }
};
template <>
struct std::hash<rmpi::TaskId> {
  size_t operator()(const rmpi::TaskId& t) const noexcept {
    return std::hash<rmpi::Address>()(t.owner) ^ rmpi::Mix(t.sequence + 0x9e3779b97f4a7c15ULL * t.job.value);
  }
};
template <>
struct std::hash<rmpi::ObjectId> {
  size_t operator()(const rmpi::ObjectId& o) const noexcept {
    return std::hash<rmpi::TaskId>()(o.task) + 0x9e3779b97f4a7c15ULL * o.index;
  }
};
