// SPDX-License-Identifier: Apache-2.0
// UcxTransfer: the source's side.
#include "objstore/transfer/post.h"
#include "objstore/transfer/ucx_transfer.h"

namespace rmpi::transfer {

// From within progress: only take note, answers may need a new endpoint.
ucs_status_t UcxTransfer::OnRequest(void* arg, const void* header, size_t header_size, void* data,
                                    size_t size, const ucp_am_recv_param_t* param) {
  auto* self = static_cast<UcxTransfer*>(arg);
  Request request;
  const bool here = (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) == 0;
  if (!here || !Unseal(self->options_.secret, kRequestId, header, header_size, &request.header) ||
      (size > 0 && KeyOf(self->options_.secret, data, size) != request.header.requester)) {
    ++self->counters_.refused;
    return UCS_OK;
  }
  request.address.assign(static_cast<const char*>(data), size);
  self->requests_.push_back(std::move(request));
  return UCS_OK;
}

void UcxTransfer::ServeRequests() {
  if (std::exchange(look_again_, false)) {
    for (Request& request : std::exchange(parked_, {})) requests_.push_back(std::move(request));
  }
  for (const Request& request : std::exchange(requests_, {})) Serve(request);
}

void UcxTransfer::Serve(const Request& request) {
  const ChunkRequest& what = request.header;
  Link* link = LinkOf(what.requester);
  if (link == nullptr && !request.address.empty()) link = AddLink(request.address);
  if (link == nullptr || link->dead) return;
  if (link->failed || link->closing != nullptr) {  // the requester was quicker to make a new connection
    requests_.push_back(request);
    return;
  }
  if (!Connect(link).ok()) return;
  const std::byte* data = At(what.segment, what.offset, what.bytes);
  Held held = Held::kGone;
  if (data != nullptr && options_.validator)
    held = options_.validator(what.id, what.attempt, what.segment, what.offset, what.bytes);
  if (held == Held::kComing) {
    parked_.push_back(request);
    return;
  }
  if (held == Held::kGone) {
    ++counters_.gone;
    Reply(link, ChunkAnswer{{}, what.token, Answer::kGone, 0}, nullptr);
    return;
  }
  if (!Reply(link, ChunkAnswer{{}, what.token, Answer::kData, what.bytes}, data)) return;
  counters_.bytes_out += what.bytes;
  ++counters_.chunks_out;
}

// An answer that cannot be sent would be waited for: breaking the connection is an answer, too.
bool UcxTransfer::Reply(Link* link, const ChunkAnswer& answer, const std::byte* data) {
  if (Post(link, kAnswerId, answer, {}, data, answer.bytes) == UCS_OK) return true;
  link->failed = true;
  to_mend_.push_back(link->key);
  return false;
}

}  // namespace rmpi::transfer
