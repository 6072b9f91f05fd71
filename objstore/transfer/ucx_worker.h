// SPDX-License-Identifier: Apache-2.0
// UcxWorker: a UCX context and one worker, with what sleeping on it needs. Made by the control thread, then
// used by the data thread only.
#pragma once

#include <ucp/api/ucp.h>

#include <functional>
#include <string>
#include <vector>

#include "runtime/base/status.h"

namespace rmpi::transfer {

class UcxWorker {
 public:
  UcxWorker() = default;
  ~UcxWorker();
  UcxWorker(const UcxWorker&) = delete;
  UcxWorker& operator=(const UcxWorker&) = delete;

  Status Init(const std::string& net_devices);
  Status OnMessage(unsigned id, ucp_am_recv_callback_t callback, void* arg);
  // Registers memory for RDMA where the limit on locked memory allows; otherwise UCX registers as it goes.
  void Register(std::byte* base, uint64_t bytes);

  ucp_worker_h get() const { return worker_; }
  int event_fd() const { return event_fd_; }
  const std::string& address() const { return address_; }

  // `on_error(arg, ep, status)` is called from progress when the connection fails.
  Status Connect(const std::string& address, ucp_err_handler_cb_t on_error, void* arg, ucp_ep_h* out);

 private:
  ucp_context_h context_ = nullptr;
  ucp_worker_h worker_ = nullptr;
  int event_fd_ = -1;
  std::string address_;
  std::vector<ucp_mem_h> registered_;
};

// UCX writes to stdout by default, which is the user's program's. While installed, its warnings and errors go
// to `log` instead (nowhere if empty). Process wide, never removed: UCX's threads may speak at any time.
void RedirectUcxLog(std::function<void(const std::string&)> log);

Status UcxStatus(const std::string& what, ucs_status_t status);

}  // namespace rmpi::transfer
