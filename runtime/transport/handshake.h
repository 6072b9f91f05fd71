// SPDX-License-Identifier: Apache-2.0
// How two ends of a direct connection convince each other that both belong to the run, without either sending
// the secret: an address may be stale, and whoever listens there now must learn nothing.
//
//   connector -> acceptor   Hello   {magic, protocol, from, to, nonce}
//   acceptor  -> connector  Welcome {nonce, the connector's number, proof over all of it}
//   connector -> acceptor   Proof   {the same, other label}, then frames
//
// A process that joins later has no number yet: it says kNewPeer, and the acceptor gives it one.
//
// A proof is a keyed hash (SipHash-2-4, twice, 128 bits) under the run's secret.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "runtime/transport/transport.h"

namespace rmpi {

using Nonce = std::array<uint8_t, 16>;
using ProofBytes = std::array<uint64_t, 2>;

struct Hello {
  uint32_t magic;
  uint32_t protocol;
  int32_t from;
  int32_t to;
  Nonce nonce;
};
struct Welcome {
  Nonce nonce;
  int32_t peer;  // the connector
  int32_t reserved;
  ProofBytes proof;
};
static_assert(sizeof(Hello) == 32 && sizeof(Welcome) == 40 && sizeof(ProofBytes) == 16);

constexpr int32_t kNewPeer = -1;

constexpr uint32_t kHelloMagic = 0x49504d52;  // "RMPI"

enum class Prover : uint64_t { kAcceptor = 1, kConnector = 2 };

bool DrawNonce(Nonce* nonce);
// `peer`: the connector's number, as in the Welcome.
ProofBytes Prove(const RunSecret& secret, Prover who, const Hello& hello, const Nonce& acceptor_nonce,
                 int32_t peer);

}  // namespace rmpi
