// SPDX-License-Identifier: Apache-2.0
#include "runtime/ids/ids.h"

namespace rmpi {
namespace {

template <size_t N>
std::string HexOf(const std::array<uint8_t, N>& bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(2 * N);
  for (uint8_t b : bytes) {
    out.push_back(kDigits[b >> 4]);
    out.push_back(kDigits[b & 15]);
  }
  return out;
}

}  // namespace

// Layout of docs/wire.md: sequence 8, owner node 4, slot 2, reserved 2, generation 4, job 4; little endian.
// The job comes last so that ids of one job end alike, as Ray's do.
std::array<uint8_t, kTaskIdSize> ToBinary(const TaskId& id) {
  std::array<uint8_t, kTaskIdSize> out{};
  std::memcpy(out.data(), &id.sequence, 8);
  std::memcpy(out.data() + 8, &id.owner, 12);
  std::memcpy(out.data() + 20, &id.job.value, 4);
  return out;
}

std::array<uint8_t, kObjectIdSize> ToBinary(const ObjectId& id) {
  std::array<uint8_t, kObjectIdSize> out{};
  const auto task = ToBinary(id.task);
  std::memcpy(out.data(), task.data(), kTaskIdSize);
  const uint32_t index = id.index + 1;  // Ray counts returns from 1
  std::memcpy(out.data() + kTaskIdSize, &index, 4);
  return out;
}

bool FromBinary(std::string_view bytes, TaskId* id) {
  if (bytes.size() != kTaskIdSize) return false;
  std::memcpy(&id->sequence, bytes.data(), 8);
  std::memcpy(&id->owner, bytes.data() + 8, 12);
  std::memcpy(&id->job.value, bytes.data() + 20, 4);
  return !id->nil();
}

bool FromBinary(std::string_view bytes, ObjectId* id) {
  if (bytes.size() != kObjectIdSize || !FromBinary(bytes.substr(0, kTaskIdSize), &id->task)) return false;
  uint32_t index;
  std::memcpy(&index, bytes.data() + kTaskIdSize, 4);
  if (index == 0) return false;
  id->index = index - 1;
  id->reserved = 0;
  return true;
}

std::string Hex(const TaskId& id) { return HexOf(ToBinary(id)); }
std::string Hex(const ObjectId& id) { return HexOf(ToBinary(id)); }

std::string Hex(JobId id) {
  std::array<uint8_t, 4> bytes;
  std::memcpy(bytes.data(), &id.value, 4);
  return HexOf(bytes);
}

std::array<uint8_t, 16> ActorBinary(const ObjectId& actor) {
  std::array<uint8_t, 16> bytes;
  const uint64_t mixed = std::hash<TaskId>()(actor.task);
  const auto number = static_cast<uint32_t>(actor.task.number());
  std::memcpy(bytes.data(), &mixed, 8);
  std::memcpy(bytes.data() + 8, &number, 4);
  std::memcpy(bytes.data() + 12, &actor.task.job.value, 4);
  return bytes;
}

std::string ActorHex(const ObjectId& actor) { return HexOf(ActorBinary(actor)); }

std::string NodeHex(uint64_t run, uint32_t node) {
  std::array<uint8_t, 28> bytes{};
  for (int i = 0; i < 3; ++i) {
    const uint64_t word = Mix(run + 0x9e3779b97f4a7c15ULL * (3 * uint64_t{node} + i + 1));
    std::memcpy(bytes.data() + 8 * i, &word, 8);
  }
  std::memcpy(bytes.data() + 24, &node, 4);
  return HexOf(bytes);
}

std::string GroupHex(uint64_t run, uint32_t group) {
  std::array<uint8_t, 18> bytes{};
  const uint64_t word = Mix(run);
  std::memcpy(bytes.data(), &word, 8);
  const uint64_t second = Mix(run + 1);
  std::memcpy(bytes.data() + 8, &second, 6);
  std::memcpy(bytes.data() + 14, &group, 4);
  return HexOf(bytes);
}

std::string ToString(const Address& a) {
  return std::to_string(a.node) + "." + std::to_string(a.slot) + "#" + std::to_string(a.generation);
}

}  // namespace rmpi
