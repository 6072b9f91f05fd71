// SPDX-License-Identifier: Apache-2.0
// The two messages of a transfer, as active messages of UCX. Both begin with a seal: a keyed hash over the
// rest of the header, under the run's secret.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>

#include "runtime/ids/ids.h"
#include "runtime/transport/siphash.h"

namespace rmpi::transfer {

constexpr unsigned kRequestId = 1, kAnswerId = 2;  // of the active messages

using Secret = std::array<uint8_t, 16>;
using Seal = std::array<uint64_t, 2>;

// Requester -> source. Its payload is the requester's address until the source has answered once.
struct ChunkRequest {
  Seal seal;
  uint64_t requester;  // key of its address
  uint64_t token;      // names the chunk at the requester
  ObjectId id;
  uint32_t attempt;
  uint32_t segment;
  uint64_t offset;
  uint64_t bytes;
};
static_assert(sizeof(ChunkRequest) == 88);

enum class Answer : uint64_t { kData = 1, kGone = 2 };

// Source -> requester, with the chunk as payload.
struct ChunkAnswer {
  Seal seal;
  uint64_t token;
  Answer answer;
  uint64_t bytes;
};
static_assert(sizeof(ChunkAnswer) == 40);

// An address's key is its keyed hash: it proves the payload of a request, too.
inline uint64_t KeyOf(const Secret& secret, const void* address, size_t size) {
  return SipHash24(secret, address, size);
}

template <typename Header>
Seal SealOf(const Secret& secret, const Header& header, unsigned id) {
  constexpr size_t kRest = sizeof(Header) - sizeof(Seal);
  std::array<std::byte, sizeof(uint64_t) + kRest> text;
  std::memcpy(text.data() + sizeof(uint64_t), reinterpret_cast<const std::byte*>(&header) + sizeof(Seal),
              kRest);
  Seal seal;
  for (uint64_t half = 0; half < seal.size(); ++half) {
    const uint64_t label = uint64_t{id} << 8 | half;
    std::memcpy(text.data(), &label, sizeof(label));
    seal[half] = SipHash24(secret, text.data(), text.size());
  }
  return seal;
}

// Copies the header out of a message; false if it has another size or the wrong seal.
template <typename Header>
bool Unseal(const Secret& secret, unsigned id, const void* data, size_t size, Header* out) {
  if (size != sizeof(Header)) return false;
  std::memcpy(out, data, size);
  const Seal wanted = SealOf(secret, *out, id);
  return SameBytes(&out->seal, &wanted, sizeof(wanted));
}

}  // namespace rmpi::transfer
