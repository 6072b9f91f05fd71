// SPDX-License-Identifier: Apache-2.0
#include "runtime/transport/handshake.h"

#include <sys/random.h>

#include "runtime/transport/siphash.h"

namespace rmpi {

bool DrawNonce(Nonce* nonce) {
  return getrandom(nonce->data(), nonce->size(), 0) == static_cast<ssize_t>(nonce->size());
}

ProofBytes Prove(const RunSecret& secret, Prover who, const Hello& hello, const Nonce& acceptor_nonce,
                 int32_t peer) {
  struct {
    uint64_t label;
    Hello hello;
    Nonce nonce;
    int64_t peer;
  } text{static_cast<uint64_t>(who), hello, acceptor_nonce, peer};
  static_assert(sizeof(text) == 64);  // no padding: all of it is hashed
  ProofBytes proof;
  for (size_t half = 0; half < 2; ++half) {
    text.label = static_cast<uint64_t>(who) | half << 32;
    proof[half] = SipHash24(secret, &text, sizeof(text));
  }
  return proof;
}

}  // namespace rmpi
