// SPDX-License-Identifier: Apache-2.0
// The module's functions on the session and the cluster: connect, nodes, figures, exports, key/value.
#include "bindings/python/src/core_call.h"
#include "bindings/python/src/module.h"
#include "bindings/python/src/object_ref.h"
#include "runtime/worker/nodes_of.h"

namespace rmpi::python {
namespace {

constexpr TimeNs kImportPatience = 60 * kSecond;

CoreWorker* Core() { return Session::Get().core(); }

void Connect(const std::string& session, bool worker, uint64_t token, const std::string& name,
             const std::string& ray_namespace, bool log_to_driver, const std::vector<std::string>& cpp_worker,
             const std::string& cpp_worker_cwd) {
  CoreWorker::Options options;
  options.session = session;
  options.mode = worker ? CoreWorker::Mode::kWorker : CoreWorker::Mode::kDriver;
  options.spawn_token = token;
  options.name = name;
  options.ray_namespace = ray_namespace;
  options.log_to_driver = log_to_driver;
  options.native_worker = cpp_worker;
  options.native_worker_cwd = cpp_worker_cwd;
  Session::Get().Connect(options);
}

nb::dict PairsToDict(const std::vector<std::pair<std::string, double>>& pairs) {
  nb::dict out;
  for (const auto& [name, amount] : pairs) out[name.c_str()] = amount;
  return out;
}

// Of the runtime that this process is connected to, or of any other of this user.
nb::list Nodes(const std::string& session) {
  std::vector<NodeInfo> nodes;
  CoreWorker* core = session.empty() ? Core() : nullptr;
  CheckStatus(Unlocked([&] { return core == nullptr ? NodesOf(session, &nodes) : core->Nodes(&nodes); }));
  nb::list out;
  for (const NodeInfo& n : nodes) {
    nb::dict d;
    d["node"] = n.node;
    d["hex_id"] = n.hex_id;
    d["alive"] = n.alive;
    d["hostname"] = n.hostname;
    d["ip"] = n.ip;
    d["rank"] = n.rank;
    d["total"] = PairsToDict(n.total);
    d["available"] = PairsToDict(n.available);
    nb::dict labels;
    for (const auto& [key, value] : n.labels) labels[key.c_str()] = value;
    d["labels"] = labels;
    d["death_reason"] = n.death_reason;
    out.append(d);
  }
  return out;
}

nb::dict Stats() {
  const StoreStats s = Core()->Stats();
  nb::dict d;
  d["capacity_bytes"] = s.capacity_bytes;
  d["used_bytes"] = s.used_bytes;
  d["objects"] = s.objects;
  d["owned_entries"] = s.owned_entries;
  d["borrowed_entries"] = s.borrowed_entries;
  d["pending_tasks"] = s.pending_tasks;
  d["bytes_read_in_place"] = s.bytes_read_in_place;
  d["bytes_moved"] = s.bytes_moved;
  return d;
}

nb::bytes Import(const std::string& key, double patience_s) {
  Blob value;
  CoreWorker* core = Core();
  const TimeNs patience = patience_s < 0 ? kImportPatience : static_cast<TimeNs>(patience_s * 1e9);
  const TimeNs deadline = MonotonicNow() + patience;
  CheckStatus(Unlocked([&] { return core->Import(key, deadline, &value); }));
  return FromBlob(value);
}

nb::object KvGet(const std::string& ns, const std::string& key) {
  std::optional<Blob> value;
  CoreWorker* core = Core();
  CheckStatus(Unlocked([&] { return core->KvGet(ns, key, &value); }));
  if (!value) return nb::none();
  return FromBlob(*value);
}

void InitKeyValue(nb::module_& m) {
  m.def(
      "kv_put",
      [](const std::string& ns, const std::string& key, const nb::bytes& value, bool overwrite) {
        bool added = false;
        CoreWorker* core = Core();
        const Bytes bytes = AsBytes(value);
        CheckStatus(Unlocked([&] { return core->KvPut(ns, key, bytes, overwrite, &added); }));
        return added;
      },
      "namespace"_a, "key"_a, "value"_a, "overwrite"_a);
  m.def("kv_get", &KvGet, "namespace"_a, "key"_a);
  m.def(
      "kv_del",
      [](const std::string& ns, const std::string& key) {
        bool deleted = false;
        CoreWorker* core = Core();
        CheckStatus(Unlocked([&] { return core->KvDel(ns, key, &deleted); }));
        return deleted;
      },
      "namespace"_a, "key"_a);
  m.def(
      "kv_keys",
      [](const std::string& ns, const std::string& prefix) {
        std::vector<std::string> keys;
        CoreWorker* core = Core();
        CheckStatus(Unlocked([&] { return core->KvKeys(ns, prefix, &keys); }));
        return keys;
      },
      "namespace"_a, "prefix"_a);
}

void InitIdentity(nb::module_& m) {
  m.def("job_id", [] { return Hex(Core()->job_id()); });
  m.def("run_id", [] { return Core()->run_id(); });
  m.def("node", [] { return Core()->node(); });
  m.def("node_hex", [] { return NodeHex(Core()->run_id(), Core()->node()); });
  m.def("session", [] { return Core()->session(); });
  m.def("address", [] {
    const Address a = Core()->address();
    return nb::make_tuple(a.node, a.slot, a.generation);
  });
}

}  // namespace

void InitCluster(nb::module_& m) {
  m.def("connect", &Connect, "session"_a, "worker"_a = false, "token"_a = 0, "name"_a = "",
        "namespace"_a = "", "log_to_driver"_a = true, "cpp_worker"_a = std::vector<std::string>(),
        "cpp_worker_cwd"_a = "");
  m.def("disconnect", [] { Session::Get().Disconnect(); });
  m.def("abandon_after_fork", [] { Session::Get().AbandonAfterFork(); });
  m.def("connected", [] { return Session::Get().connected(); });
  m.def("epoch", [] { return Session::Get().epoch(); });
  m.def("nodes", &Nodes, "session"_a = "");
  m.def("stats", &Stats);
  m.def(
      "export_bytes",
      [](const std::string& key, const nb::bytes& value) {
        CheckStatus(Core()->Export(key, AsBytes(value)));
      },
      "key"_a, "value"_a);
  m.def("import_bytes", &Import, "key"_a, "patience_s"_a = -1.0);
  InitKeyValue(m);
  InitIdentity(m);
}

}  // namespace rmpi::python
