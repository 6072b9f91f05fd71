// SPDX-License-Identifier: Apache-2.0
#include "runtime/devices/devices.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

namespace rmpi {
namespace {

using nlohmann::json;

struct Known {
  const char* resource;
  const char* variable;
  const char* no_set;  // after RAY_EXPERIMENTAL_NOSET_, where it is not the variable's name
};
constexpr std::array<Known, 9> kKnown = {{
    {"FURIOSA", "FURIOSA_DEVICES", nullptr},
    {"GPU", "CUDA_VISIBLE_DEVICES", nullptr},
    {"HPU", "HABANA_VISIBLE_MODULES", nullptr},
    {"MBLT", "QBRUNTIME_VISIBLE_DEVICES", "MBLT_RT_VISIBLE_DEVICES"},
    {"NPU", "ASCEND_RT_VISIBLE_DEVICES", nullptr},
    {"RBLN", "RBLN_DEVICES", "RBLN_RT_VISIBLE_DEVICES"},
    {"TPU", "TPU_VISIBLE_CHIPS", nullptr},
    {"TTNPU", "TT_VISIBLE_DEVICES", nullptr},
    {"neuron_cores", "NEURON_RT_VISIBLE_CORES", nullptr},
}};

bool IsOn(const Lookup& environment, const std::string& name) {
  const std::string value = environment(name).value_or("");
  return value == "1" || value == "true" || value == "True" || value == "TRUE";
}

bool MaySet(const DeviceKind& kind, const Lookup& environment) {
  if (kind.variable.empty()) return false;
  const auto known =
      std::find_if(kKnown.begin(), kKnown.end(), [&](const Known& k) { return kind.resource == k.resource; });
  const bool odd = known != kKnown.end() && known->no_set != nullptr;
  return !IsOn(environment, "RAY_EXPERIMENTAL_NOSET_" + (odd ? std::string(known->no_set) : kind.variable));
}

std::string Joined(const std::vector<std::string>& ids) {
  std::string out;
  for (const std::string& id : ids) out += (out.empty() ? "" : ",") + id;
  return out;
}

// AMD has several masks, one upon the other: the lower one (ROCR) renumbers what the upper ones count.
void MatchUpperMasks(const HeldDevices& held, const Lookup& environment, Variables* out) {
  if (held.kind->variable == "ROCR_VISIBLE_DEVICES") {
    std::vector<std::string> numbers;
    for (size_t i = 0; i < held.ids.size(); ++i) numbers.push_back(std::to_string(i));
    for (const char* upper : {"HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"}) {
      if (environment(upper)) out->emplace_back(upper, Joined(numbers));
    }
  } else if (held.kind->variable == "HIP_VISIBLE_DEVICES") {
    for (const char* equal : {"CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"}) {
      if (environment(equal)) out->emplace_back(equal, Joined(held.ids));
    }
  }
}

}  // namespace

std::string EncodeDevices(const DeviceKinds& kinds) {
  json list = json::array();
  for (const DeviceKind& k : kinds) {
    list.push_back(
        {{"resource", k.resource}, {"variable", k.variable}, {"masked", k.masked}, {"ids", k.ids}});
  }
  return list.dump(-1, ' ', false, json::error_handler_t::replace);
}

Status DecodeDevices(const std::string& text, DeviceKinds* out) {
  out->clear();
  try {
    for (const json& k : json::parse(text)) {
      out->push_back({k.at("resource"), k.at("variable"), k.at("masked"), k.at("ids")});
    }
  } catch (const json::exception& e) {
    return Status::Invalid(std::string(kDevicesVariable) +
                           " is damaged, start the program anew: " + e.what());
  }
  return Status::Ok();
}

std::string VisibleDevicesVariable(const std::string& resource) {
  for (const Known& k : kKnown) {
    if (resource == k.resource) return k.variable;
  }
  return "";
}

std::vector<HeldDevices> NameDevices(const DeviceKinds& kinds, const std::vector<uint32_t>& numbers) {
  std::vector<HeldDevices> held;
  uint32_t first = 0;
  for (const DeviceKind& kind : kinds) {
    const auto count = static_cast<uint32_t>(kind.ids.size());
    HeldDevices of_kind{&kind, {}};
    for (uint32_t n : numbers) {
      if (n >= first && n - first < count) of_kind.ids.push_back(kind.ids[n - first]);
    }
    first += count;
    if (!of_kind.ids.empty()) held.push_back(std::move(of_kind));
  }
  return held;
}

Variables DeviceVariables(const std::vector<HeldDevices>& held, const Lookup& environment) {
  Variables out;
  for (const HeldDevices& h : held) {
    if (!MaySet(*h.kind, environment)) continue;
    out.emplace_back(h.kind->variable, Joined(h.ids));
    MatchUpperMasks(h, environment, &out);
  }
  return out;
}

Variables NoDeviceVariables(const DeviceKinds& kinds, const Lookup& environment) {
  Variables out;
  if (!IsOn(environment, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO")) return out;
  for (const DeviceKind& kind : kinds) {
    if (MaySet(kind, environment)) out.emplace_back(kind.variable, "");
  }
  return out;
}

}  // namespace rmpi
