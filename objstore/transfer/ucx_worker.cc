// SPDX-License-Identifier: Apache-2.0
#include "objstore/transfer/ucx_worker.h"

#include <sys/resource.h>
extern "C" {
#include <ucs/debug/log_def.h>
}

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>

#include "runtime/transport/interface.h"

namespace rmpi::transfer {
namespace {

std::mutex g_log_mutex;
std::function<void(const std::string&)>* g_log = nullptr;  // leaked on purpose, with UCX itself

ucs_log_func_rc_t OnLog(const char*, unsigned, const char*, ucs_log_level_t level,
                        const ucs_log_component_config_t*, const char* format, va_list arguments) {
  if (level > UCS_LOG_LEVEL_WARN) return UCS_LOG_FUNC_RC_CONTINUE;  // asked for by the user's UCX_LOG_LEVEL
  char text[1024];
  vsnprintf(text, sizeof(text), format, arguments);
  const std::lock_guard lock(g_log_mutex);
  if (*g_log) (*g_log)(std::string("UCX: ") + text);
  return UCS_LOG_FUNC_RC_STOP;
}

// What we want unless the user's environment says otherwise.
void Default(ucp_config_t* config, const char* name, const char* value) {
  if (getenv((std::string("UCX_") + name).c_str()) == nullptr) ucp_config_modify(config, name, value);
}

// UCX 1.20 asks the routing table whether a loopback device reaches its own host, of an address that is none,
// and so finds that it does not. The job's interface does; where there is none either, transfers say so.
std::string WithoutBrokenLoopback(const std::string& net_devices) {
  unsigned major = 0, minor = 0, release = 0;
  ucp_get_version(&major, &minor, &release);
  NetInterface interface;
  if (net_devices != "lo" || major != 1 || minor != 20 || !JobInterface(&interface).ok()) return net_devices;
  return interface.name;
}

}  // namespace

void RedirectUcxLog(std::function<void(const std::string&)> log) {
  const std::lock_guard lock(g_log_mutex);
  if (g_log == nullptr) {
    g_log = new std::function<void(const std::string&)>(std::move(log));
    ucs_log_push_handler(OnLog);
  } else {
    *g_log = std::move(log);
  }
}

Status UcxStatus(const std::string& what, ucs_status_t status) {
  return Status::Unavailable(what + ": " + ucs_status_string(status));
}

Status UcxWorker::Init(const std::string& wanted_devices) {
  const std::string net_devices = WithoutBrokenLoopback(wanted_devices);
  ucp_config_t* config = nullptr;
  ucs_status_t rc = ucp_config_read(nullptr, nullptr, &config);
  if (rc != UCS_OK) return UcxStatus("reading UCX's settings (look at the UCX_* variables)", rc);
  const std::unique_ptr<ucp_config_t, decltype(&ucp_config_release)> guard(config, &ucp_config_release);
  // Processes of one host read each other's arenas in place, so shared-memory transports would only leave
  // segments behind. Of the rest, tcp or RDMA, UCX takes the best.
  Default(config, "TLS", "^sm,self");
  if (!net_devices.empty()) Default(config, "NET_DEVICES", net_devices.c_str());

  ucp_params_t params{};
  params.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_NAME;
  params.features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP;
  params.name = "ray-mpi";
  rc = ucp_init(&params, config, &context_);
  if (rc != UCS_OK) {
    return UcxStatus("ucp_init over devices '" + net_devices + "' (UCX_TLS and UCX_NET_DEVICES override)",
                     rc);
  }
  ucp_worker_params_t worker{};
  worker.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE | UCP_WORKER_PARAM_FIELD_EVENTS;
  worker.thread_mode = UCS_THREAD_MODE_SERIALIZED;  // made by one thread, used by another
  worker.events = UCP_WAKEUP_RX | UCP_WAKEUP_TX;
  rc = ucp_worker_create(context_, &worker, &worker_);
  if (rc != UCS_OK) return UcxStatus("ucp_worker_create", rc);
  rc = ucp_worker_get_efd(worker_, &event_fd_);
  if (rc != UCS_OK) return UcxStatus("ucp_worker_get_efd: none of UCX's transports can be slept on", rc);
  ucp_address_t* address = nullptr;
  size_t length = 0;
  rc = ucp_worker_get_address(worker_, &address, &length);
  if (rc != UCS_OK) return UcxStatus("ucp_worker_get_address", rc);
  address_.assign(reinterpret_cast<const char*>(address), length);
  ucp_worker_release_address(worker_, address);
  return Status::Ok();
}

UcxWorker::~UcxWorker() {
  for (ucp_mem_h memory : registered_) ucp_mem_unmap(context_, memory);
  if (worker_ != nullptr) ucp_worker_destroy(worker_);
  if (context_ != nullptr) ucp_cleanup(context_);
}

Status UcxWorker::OnMessage(unsigned id, ucp_am_recv_callback_t callback, void* arg) {
  ucp_am_handler_param_t param{};
  param.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_FLAGS |
                     UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG;
  param.id = id;
  param.flags = UCP_AM_FLAG_WHOLE_MSG;
  param.cb = callback;
  param.arg = arg;
  const ucs_status_t rc = ucp_worker_set_am_recv_handler(worker_, &param);
  return rc == UCS_OK ? Status::Ok() : UcxStatus("ucp_worker_set_am_recv_handler", rc);
}

void UcxWorker::Register(std::byte* base, uint64_t bytes) {
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur < bytes || bytes == 0) return;
  ucp_mem_map_params_t params{};
  params.field_mask =
      UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH | UCP_MEM_MAP_PARAM_FIELD_FLAGS;
  params.address = base;
  params.length = bytes;
  params.flags = UCP_MEM_MAP_NONBLOCK;  // do not fault in what nobody has used yet
  ucp_mem_h memory = nullptr;
  if (ucp_mem_map(context_, &params, &memory) == UCS_OK) registered_.push_back(memory);
}

Status UcxWorker::Connect(const std::string& address, ucp_err_handler_cb_t on_error, void* arg,
                          ucp_ep_h* out) {
  ucp_ep_params_t params{};
  params.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                      UCP_EP_PARAM_FIELD_ERR_HANDLER;
  params.address = reinterpret_cast<const ucp_address_t*>(address.data());
  params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  params.err_handler.cb = on_error;
  params.err_handler.arg = arg;
  const ucs_status_t rc = ucp_ep_create(worker_, &params, out);
  return rc == UCS_OK ? Status::Ok() : UcxStatus("ucp_ep_create", rc);
}

}  // namespace rmpi::transfer
