// SPDX-License-Identifier: Apache-2.0
// UcxTransfer: peers and their endpoints.
#include <algorithm>

#include "objstore/transfer/ucx_transfer.h"

namespace rmpi::transfer {
namespace {

constexpr TimeNs kCloseLimit = kSecond / 2;

}  // namespace

UcxTransfer::Link* UcxTransfer::LinkOf(uint64_t key) {
  const auto found = links_.find(key);
  return found == links_.end() ? nullptr : &found->second;
}

UcxTransfer::Link* UcxTransfer::AddLink(const std::string& address) {
  const uint64_t key = KeyOf(options_.secret, address.data(), address.size());
  Link* link = &links_[key];
  link->key = key;
  link->address = address;
  return link;
}

Status UcxTransfer::Connect(Link* link) {
  if (link->endpoint != nullptr) return Status::Ok();
  link->heard = false;
  return worker_.Connect(link->address, OnError, this, &link->endpoint);
}

// From within progress: only take note.
void UcxTransfer::OnError(void* arg, ucp_ep_h endpoint, ucs_status_t) {
  auto* self = static_cast<UcxTransfer*>(arg);
  for (auto& [key, link] : self->links_) {
    if (link.endpoint != endpoint) continue;
    link.failed = true;
    self->to_mend_.push_back(key);
  }
}

void UcxTransfer::CloseLink(Link* link) {
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
  param.flags = UCP_EP_CLOSE_FLAG_FORCE;
  const ucs_status_ptr_t request = ucp_ep_close_nbx(link->endpoint, &param);
  to_mend_.push_back(link->key);
  link->failed = false;
  if (UCS_PTR_IS_PTR(request)) {
    link->closing = request;
    ++closing_;
    return;
  }
  link->endpoint = nullptr;  // closed at once, or beyond help
}

// Once an endpoint is closed UCX has ended all its operations: no fetch of it can still be written to.
void UcxTransfer::MendLinks() {
  for (const uint64_t key : std::exchange(to_mend_, {})) {
    Link* link = LinkOf(key);
    if (link == nullptr) continue;
    if (link->failed && link->closing == nullptr && link->endpoint != nullptr) CloseLink(link);
    if (link->closing != nullptr) {
      if (ucp_request_check_status(link->closing) == UCS_INPROGRESS) {
        to_mend_.push_back(key);
        continue;
      }
      ucp_request_free(link->closing);
      --closing_;
      link->closing = nullptr;
      link->endpoint = nullptr;
      link->failed = false;
    }
    if (link->endpoint != nullptr) continue;
    FailFetches(key, Status::Unavailable("the connection to the source of a transfer broke"), /*force=*/true);
  }
}

// `force`: no operation of this link is alive in UCX any more.
void UcxTransfer::FailFetches(uint64_t link, const Status& status, bool force) {
  std::vector<uint64_t> affected;
  for (const auto& [request, fetch] : fetches_) {
    // One that has asked for nothing yet may still have its try on a new connection.
    if (fetch.link == link && (fetch.begun || LinkOf(link)->dead)) affected.push_back(request);
  }
  for (const uint64_t request : affected) {
    Open* fetch = &fetches_.at(request);
    if (force) {
      std::erase_if(chunks_,
                    [&](const auto& c) { return c.second.request == request && c.second.receiving; });
      fetch->chunks -= fetch->receiving;
      fetch->receiving = 0;
    }
    Fail(fetch, status);
  }
  if (!force) return;
  Link* l = LinkOf(link);
  l->window_used = 0;
  l->chunks = 0;
  if (!l->line.empty() && !l->dead) to_pump_.push_back(link);
}

void UcxTransfer::CloseAll() {
  for (auto& [key, link] : links_) {
    link.dead = true;
    if (link.endpoint != nullptr && link.closing == nullptr) CloseLink(&link);
  }
  const TimeNs limit = MonotonicNow() + kCloseLimit;
  while ((closing_ > 0 || sending_ > 0) && MonotonicNow() < limit) {
    ucp_worker_progress(worker_.get());
    MendLinks();
  }
}

}  // namespace rmpi::transfer
