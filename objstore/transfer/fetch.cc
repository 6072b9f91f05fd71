// SPDX-License-Identifier: Apache-2.0
// UcxTransfer: the requester's side.
#include <algorithm>
#include <cstring>

#include "objstore/transfer/post.h"
#include "objstore/transfer/ucx_transfer.h"

namespace rmpi::transfer {
namespace {

constexpr uint32_t kChunksPerLink = 64;  // small fetches are bounded by their number

}  // namespace

// Asks for chunks in turn, one per fetch, while the window has room.
void UcxTransfer::Pump(Link* link) {
  if (link == nullptr || link->closing != nullptr || link->failed) return;
  const uint64_t window = uint64_t{options_.chunk_bytes} * options_.chunks_in_flight;
  while (!link->line.empty() && link->chunks < kChunksPerLink) {
    const uint64_t request = link->line.front();
    const auto found = fetches_.find(request);
    if (found == fetches_.end() || !found->second.status.ok() || found->second.link != link->key) {
      link->line.pop_front();  // failed or cancelled meanwhile
      continue;
    }
    Open* fetch = &found->second;
    if (fetch->what.coming) {
      link->line.pop_front();
      PumpComing(link, fetch);
      continue;
    }
    const uint64_t bytes = std::min<uint64_t>(options_.chunk_bytes, fetch->what.bytes - fetch->asked);
    if (link->window_used != 0 && link->window_used + bytes > window) return;
    link->line.pop_front();
    Ask(link, fetch);  // may end the fetch
    const auto still = fetches_.find(request);
    if (still != fetches_.end() && still->second.asked < still->second.what.bytes)
      link->line.push_back(request);
  }
}

// Of an object that its source is still receiving: its own chunks in flight, whatever else is asked for
// there.
void UcxTransfer::PumpComing(Link* link, Open* fetch) {
  const uint64_t request = fetch->what.request;
  for (;;) {
    const auto still = fetches_.find(request);  // asking may end it
    if (still == fetches_.end() || !still->second.status.ok()) return;
    fetch = &still->second;
    if (fetch->begun && (fetch->asked >= fetch->what.bytes || fetch->chunks >= options_.chunks_in_flight))
      return;
    Ask(link, fetch);
  }
}

// A chunk of that fetch is no longer on its way.
void UcxTransfer::Uncount(Link* link, const Open& fetch, uint64_t bytes) {
  if (fetch.what.coming) {
    if (fetch.asked < fetch.what.bytes && fetch.status.ok()) link->line.push_back(fetch.what.request);
    return;
  }
  link->window_used -= bytes;
  --link->chunks;
}

void UcxTransfer::NoteArrived(Open* fetch, const Chunk& chunk) {
  fetch->arrived += chunk.bytes;
  fetch->early[chunk.offset] = chunk.bytes;
  for (auto e = fetch->early.begin(); e != fetch->early.end() && e->first == fetch->prefix;) {
    fetch->prefix += e->second;
    e = fetch->early.erase(e);
  }
  if (!options_.progress) return;
  const Place& to = fetch->what.to;
  options_.progress(fetch->what.id, fetch->what.attempt, to.segment, to.offset + fetch->prefix);
  look_again_ |= !parked_.empty();
}

void UcxTransfer::Ask(Link* link, Open* fetch) {
  fetch->begun = true;
  if (const Status s = Connect(link); !s.ok()) return Fail(fetch, s);
  const Pull& what = fetch->what;
  const uint64_t bytes = std::min<uint64_t>(options_.chunk_bytes, what.bytes - fetch->asked);
  const uint64_t token = next_token_++;
  const ChunkRequest header{
      {}, own_key_, token, what.id, what.attempt, what.from.segment, what.from.offset + fetch->asked, bytes};
  const ucs_status_t rc =
      Post(link, kRequestId, header, link->heard ? std::string() : worker_.address(), nullptr, 0);
  if (rc != UCS_OK)
    return Fail(fetch, UcxStatus("asking node " + std::to_string(what.node) + " for a chunk", rc));
  chunks_[token] = {what.request, link->key, fetch->asked, bytes, false};
  fetch->asked += bytes;
  ++fetch->chunks;
  if (what.coming) return;
  link->window_used += bytes;
  ++link->chunks;
}

// The fetch will not succeed. What was asked for and has not begun to arrive is forgotten.
void UcxTransfer::Fail(Open* fetch, Status status) {
  if (fetch->status.ok()) fetch->status = std::move(status);
  Link* link = LinkOf(fetch->link);
  for (auto c = chunks_.begin(); fetch->chunks > fetch->receiving && c != chunks_.end();) {
    if (c->second.request != fetch->what.request || c->second.receiving) {
      ++c;
      continue;
    }
    Uncount(link, *fetch, c->second.bytes);
    --fetch->chunks;
    c = chunks_.erase(c);
  }
  to_pump_.push_back(fetch->link);
  MaybeComplete(fetch);
}

void UcxTransfer::MaybeComplete(Open* fetch) {
  if (fetch->receiving > 0) return;
  if (fetch->status.ok() && (fetch->chunks > 0 || fetch->arrived < fetch->what.bytes)) return;
  Complete(fetch->what.request, std::move(fetch->status), fetch->arrived);
  fetches_.erase(fetch->what.request);
}

ucs_status_t UcxTransfer::OnAnswer(void* arg, const void* header, size_t header_size, void* data, size_t size,
                                   const ucp_am_recv_param_t* param) {
  auto* self = static_cast<UcxTransfer*>(arg);
  ChunkAnswer answer;
  if (!Unseal(self->options_.secret, kAnswerId, header, header_size, &answer)) {
    ++self->counters_.refused;
    return UCS_OK;
  }
  return self->TakeAnswer(answer, data, size, (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0);
}

// UCS_OK lets go of the data: unread data of a rendezvous is thus refused, and its sender told.
ucs_status_t UcxTransfer::TakeAnswer(const ChunkAnswer& answer, void* data, size_t size, bool rendezvous) {
  const auto found = chunks_.find(answer.token);
  if (found == chunks_.end() || found->second.receiving) return UCS_OK;
  Chunk& chunk = found->second;
  LinkOf(chunk.link)->heard = true;
  Open* fetch = &fetches_.at(chunk.request);
  if (answer.answer != Answer::kData) {
    Fail(fetch, Status::NotFound("node " + std::to_string(fetch->what.node) + " no longer has object " +
                                 Hex(fetch->what.id) + " where it was"));
    return UCS_OK;
  }
  if (size != chunk.bytes || answer.bytes != chunk.bytes) {
    ++counters_.refused;
    Fail(fetch, Status::Internal("node " + std::to_string(fetch->what.node) + " answered with " +
                                 std::to_string(size) + " bytes instead of " + std::to_string(chunk.bytes)));
    return UCS_OK;
  }
  std::byte* to = At(fetch->what.to.segment, fetch->what.to.offset + chunk.offset, chunk.bytes);
  chunk.receiving = true;
  ++fetch->receiving;
  if (!rendezvous) {
    if (size > 0) std::memcpy(to, data, size);
    FinishChunk(answer.token, UCS_OK);
    return UCS_OK;
  }
  auto receiving = std::make_unique<Receiving>(Receiving{this, answer.token});
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  param.cb.recv_am = OnReceived;
  param.user_data = receiving.get();
  const ucs_status_ptr_t request = ucp_am_recv_data_nbx(worker_.get(), data, to, size, &param);
  if (request == nullptr || UCS_PTR_IS_ERR(request)) {
    FinishChunk(answer.token, UCS_PTR_STATUS(request));
    return UCS_OK;
  }
  receiving.release();  // OnReceived's
  ++receiving_;
  return UCS_INPROGRESS;
}

void UcxTransfer::OnReceived(void* request, ucs_status_t status, size_t, void* arg) {
  const std::unique_ptr<Receiving> done(static_cast<Receiving*>(arg));
  --done->self->receiving_;
  done->self->FinishChunk(done->token, status);
  ucp_request_free(request);
}

void UcxTransfer::FinishChunk(uint64_t token, ucs_status_t status) {
  const auto found = chunks_.find(token);
  if (found == chunks_.end()) return;  // its link was closed meanwhile
  const Chunk chunk = found->second;
  chunks_.erase(found);
  Link* link = LinkOf(chunk.link);
  to_pump_.push_back(chunk.link);
  Open* fetch = &fetches_.at(chunk.request);
  Uncount(link, *fetch, chunk.bytes);
  --fetch->chunks;
  --fetch->receiving;
  if (status != UCS_OK) {
    return Fail(fetch, UcxStatus("receiving a chunk from node " + std::to_string(fetch->what.node), status));
  }
  NoteArrived(fetch, chunk);
  counters_.bytes_in += chunk.bytes;
  ++counters_.chunks_in;
  MaybeComplete(fetch);
}

}  // namespace rmpi::transfer
