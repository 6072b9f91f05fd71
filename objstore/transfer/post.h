// SPDX-License-Identifier: Apache-2.0
// UcxTransfer::Post: one sealed active message.
#pragma once

#include <memory>

#include "objstore/transfer/ucx_transfer.h"

namespace rmpi::transfer {

// From here on the receiver pulls (rendezvous), straight into its arena; below, one copy is cheaper than the
// extra round trip.
constexpr uint64_t kRendezvousBytes = 64 * 1024;

template <typename Header>
void UcxTransfer::OnSent(void* request, ucs_status_t, void* sending) {
  const std::unique_ptr<Sending<Header>> done(static_cast<Sending<Header>*>(sending));
  --done->self->sending_;
  if (request != nullptr) ucp_request_free(request);
}

// Sends `payload`, or `bytes` at `data` if it is empty. `data` must stay until the message has gone.
template <typename Header>
ucs_status_t UcxTransfer::Post(Link* link, unsigned id, const Header& header, std::string payload,
                               const std::byte* data, uint64_t bytes) {
  auto sending = std::make_unique<Sending<Header>>(Sending<Header>{this, header, std::move(payload)});
  sending->header.seal = SealOf(options_.secret, header, id);
  const void* body = data;
  if (!sending->payload.empty()) {
    body = sending->payload.data();
    bytes = sending->payload.size();
  }
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_FLAGS;
  param.flags = bytes >= kRendezvousBytes ? UCP_AM_SEND_FLAG_RNDV : UCP_AM_SEND_FLAG_EAGER;
  param.cb.send = &OnSent<Header>;
  param.user_data = sending.get();
  ++sending_;
  const ucs_status_ptr_t request =
      ucp_am_send_nbx(link->endpoint, id, &sending->header, sizeof(Header), body, bytes, &param);
  if (request == nullptr || UCS_PTR_IS_ERR(request)) {  // done at once: no callback
    --sending_;
    return UCS_PTR_STATUS(request);
  }
  sending.release();  // OnSent's
  return UCS_OK;
}

}  // namespace rmpi::transfer
