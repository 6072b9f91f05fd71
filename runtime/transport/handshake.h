// SPDX-License-Identifier: Apache-2.0
// How two ends of a direct connection convince each other that both belong to the run, without either sending
// the secret: an address may be stale, and whoever listens there now must learn nothing.
//
//   connector -> acceptor   Hello   {magic, protocol, from, to, nonce}
//   acceptor  -> connector  Welcome {nonce, proof over both}
//   connector -> acceptor   Proof   {proof over both, other label}, then frames
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
  ProofBytes proof;
};
static_assert(sizeof(Hello) == 32 && sizeof(Welcome) == 32 && sizeof(ProofBytes) == 16);

constexpr uint32_t kHelloMagic = 0x49504d52;  // "RMPI"

enum class Prover : uint64_t { kAcceptor = 1, kConnector = 2 };

bool DrawNonce(Nonce* nonce);
ProofBytes Prove(const RunSecret& secret, Prover who, const Hello& hello, const Nonce& acceptor_nonce);
}  // namespace rmpi
