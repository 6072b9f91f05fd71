// SPDX-License-Identifier: Apache-2.0
#include "launcher/option_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "sched/labels.h"

namespace rmpi::launcher {
namespace {

namespace po = boost::program_options;
using Json = nlohmann::json;

Status BadValue(const std::string& option, const std::string& value, const std::string& wanted) {
  return Status::Invalid(fmt::format("--{}: '{}' is not {}", option, value, wanted));
}

Status ParseNumber(const std::string& option, const std::string& text, double low, double high, double* out) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, *out);
  if (error != std::errc() || stop != end || !std::isfinite(*out) || *out < low || *out > high) {
    return BadValue(option, text, fmt::format("a number from {} to {}", low, high));
  }
  return Status::Ok();
}

// Looks at one option at a time; remembers the first error.
class Reader {
 public:
  explicit Reader(const po::variables_map& values) : values_(values) {}
  const Status& status() const { return status_; }

  const std::string* Text(const std::string& option) const {
    const auto it = values_.find(option);
    return it == values_.end() ? nullptr : &it->second.as<std::string>();
  }
  bool Flag(const std::string& option) {
    const std::string* text = Text(option);
    if (text == nullptr) return false;
    if (*text == "1" || *text == "true" || *text == "yes" || *text == "on") return true;
    if (!(*text == "0" || *text == "false" || *text == "no" || *text == "off")) {
      Fail(BadValue(option, *text, "1 or 0"));
    }
    return false;
  }
  template <typename T>
  void Number(const std::string& option, double low, double high, T* out) {
    double value = 0;
    const std::string* text = Text(option);
    if (text == nullptr) return;
    if (Status s = ParseNumber(option, *text, low, high, &value); !s.ok()) return Fail(std::move(s));
    if constexpr (!std::is_same_v<T, double> && !std::is_same_v<T, std::optional<double>>) {
      if (value != std::floor(value)) return Fail(BadValue(option, *text, "a whole number"));
      *out = static_cast<uint32_t>(value);
    } else {
      *out = value;
    }
  }
  void Bytes(const std::string& option, uint64_t low, uint64_t high, std::optional<uint64_t>* out) {
    const std::string* text = Text(option);
    if (text == nullptr) return;
    uint64_t bytes = 0;
    if (!ParseBytes(*text, &bytes).ok()) {
      return Fail(BadValue(option, *text, "a size (bytes, or with K, M, G or T: 512M)"));
    }
    if (bytes < low || bytes > high) {
      return Fail(BadValue(option, *text, fmt::format("between {} and {} bytes", low, high)));
    }
    *out = bytes;
  }
  void Choice(const std::string& option, const std::vector<std::string>& choices, std::string* out) {
    const std::string* text = Text(option);
    if (text == nullptr) return;
    if (std::find(choices.begin(), choices.end(), *text) == choices.end()) {
      return Fail(BadValue(option, *text, fmt::format("one of: {}", fmt::join(choices, ", "))));
    }
    *out = *text;
  }
  void Fail(Status status) {
    if (status_.ok()) status_ = std::move(status);
  }

 private:
  const po::variables_map& values_;
  Status status_;
};

void ReadResources(Reader& reader, Options* out) {
  const std::string* text = reader.Text("resources");
  if (text == nullptr) return;
  const Json json = Json::parse(*text, nullptr, false);
  if (!json.is_object()) {
    return reader.Fail(BadValue("resources", *text, R"(a JSON object, e.g. '{"ssd": 1, "license": 4}')"));
  }
  for (const auto& [name, value] : json.items()) {
    if (name == "CPU" || name == "GPU" || name == "memory" || name == "object_store_memory") {
      return reader.Fail(
          Status::Invalid(fmt::format("--resources: '{}' has an option of its own (--num-cpus, --num-gpus, "
                                      "--memory, --object-store-memory)",
                                      name)));
    }
    if (name.empty() || !value.is_number() || value.get<double>() < 0) {
      return reader.Fail(Status::Invalid(
          fmt::format("--resources: '{}': {} is not an amount (a number >= 0)", name, value.dump())));
    }
    out->resources.emplace_back(name, value.get<double>());
  }
}

// Ray's form, key=value,key=value, or a JSON object of strings.
void ReadLabels(Reader& reader, Options* out) {
  const std::string* text = reader.Text("labels");
  if (text == nullptr || text->empty()) return;
  if (text->front() == '{') {
    const Json json = Json::parse(*text, nullptr, false);
    const bool good = json.is_object() &&
                      std::all_of(json.begin(), json.end(), [](const Json& v) { return v.is_string(); });
    if (!good) return reader.Fail(BadValue("labels", *text, "a JSON object of strings"));
    for (const auto& [key, value] : json.items()) out->labels[key] = value.get<std::string>();
    return;
  }
  for (size_t begin = 0; begin <= text->size();) {
    const size_t comma = std::min(text->find(',', begin), text->size());
    const std::string pair = text->substr(begin, comma - begin);
    const size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0) {
      return reader.Fail(BadValue("labels", *text, "key=value,key=value"));
    }
    const std::string key = pair.substr(0, equals), value = pair.substr(equals + 1);
    if (Status s = sched::CheckLabel(key, value); !s.ok()) {
      return reader.Fail(Status::Invalid("--labels: " + s.message()));
    }
    out->labels[key] = value;
    begin = comma + 1;
  }
}

// Ray takes one folder, or a list of them, as JSON inside of JSON.
void ReadSpillingConfig(Reader& reader, const Json& value, Options* out) {
  const Json config = value.is_string() ? Json::parse(value.get<std::string>(), nullptr, false) : value;
  const bool files = config.is_object() && config.value("type", "") == "filesystem";
  const Json folders =
      files ? config.value("params", Json::object()).value("directory_path", Json()) : Json();
  const bool list = folders.is_array() && !folders.empty() &&
                    std::all_of(folders.begin(), folders.end(), [](const Json& f) { return f.is_string(); });
  if (!folders.is_string() && !list) {
    return reader.Fail(BadValue(
        "system-config", value.dump(),
        R"(an object_spilling_config such as {"type": "filesystem", "params": {"directory_path": "/scratch"}})"));
  }
  if (!out->spill_folders.empty()) return;  // --object-spilling-directory says it
  if (!list) out->spill_folders = {folders.get<std::string>()};
  if (list) out->spill_folders = folders.get<std::vector<std::string>>();
}

void ReadSpilling(Reader& reader, Options* out) {
  if (const std::string* text = reader.Text("object-spilling-directory")) {
    for (size_t begin = 0; begin <= text->size();) {
      const size_t comma = std::min(text->find(',', begin), text->size());
      if (comma > begin) out->spill_folders.push_back(text->substr(begin, comma - begin));
      begin = comma + 1;
    }
  }
  out->keep_spill = reader.Flag("keep-spill");
  const std::string* text = reader.Text("system-config");
  if (text == nullptr) return;
  const Json json = Json::parse(*text, nullptr, false);
  if (!json.is_object()) return reader.Fail(BadValue("system-config", *text, "a JSON object"));
  const auto number = [&](const char* name, double low, auto* to) {
    if (!json.contains(name)) return;
    if (!json[name].is_number() || json[name].get<double>() < low) {
      return reader.Fail(BadValue("system-config", json[name].dump(), fmt::format("a number for {}", name)));
    }
    *to = json[name].get<typename std::remove_pointer_t<decltype(to)>::value_type>();
  };
  number("min_spilling_size", 0, &out->least_spill_bytes);
  number("max_fused_object_count", 1, &out->most_fused_objects);
  number("max_io_workers", 1, &out->spill_workers);
  number("object_spilling_threshold", 0, &out->spill_threshold);
  if (json.contains("object_spilling_config"))
    ReadSpillingConfig(reader, json["object_spilling_config"], out);
}

void ReadLogLevel(Reader& reader, Options* out) {
  static const std::vector<std::string> kLevels = {"trace", "debug",    "info", "warning",
                                                   "error", "critical", "off"};
  std::string level;
  reader.Choice("log-level", kLevels, &level);
  if (level.empty()) return;
  out->log_level = static_cast<int>(std::find(kLevels.begin(), kLevels.end(), level) - kLevels.begin());
}

}  // namespace

Status ParseBytes(const std::string& text, uint64_t* bytes) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  std::string unit(stop, end);
  while (!unit.empty() && unit.front() == ' ') unit.erase(0, 1);
  for (const char* tail : {"iB", "ib", "B", "b"}) {
    const std::string suffix(tail);
    if (unit.size() >= suffix.size() && unit.ends_with(suffix)) {
      unit.resize(unit.size() - suffix.size());
      break;
    }
  }
  static const std::string kUnits = "KMGT";
  double factor = 1;
  if (unit.size() == 1) {
    const size_t power = kUnits.find(static_cast<char>(std::toupper(unit[0])));
    if (power == std::string::npos) return Status::Invalid("unknown unit: " + text);
    factor = std::pow(1024.0, static_cast<double>(power + 1));
  } else if (!unit.empty()) {
    return Status::Invalid("unknown unit: " + text);
  }
  if (error != std::errc() || !std::isfinite(value) || value < 0 || value * factor > 1e18) {
    return Status::Invalid("not a size: " + text);
  }
  *bytes = static_cast<uint64_t>(value * factor);
  return Status::Ok();
}

Status ApplyValues(const po::variables_map& values, Options* out) {
  Reader reader(values);
  constexpr double kMany = 1e9;
  reader.Number("ranks", 1, 100000, &out->ranks);
  reader.Number("num-cpus", 0, kMany, &out->num_cpus);
  reader.Number("num-gpus", 0, kMany, &out->num_gpus);
  reader.Bytes("memory", 0, uint64_t{1} << 60, &out->memory_bytes);
  // Below this there is no room for the runtime's own objects (Ray's limit, 75 MiB, is of the same kind).
  reader.Bytes("object-store-memory", 16u << 20, uint64_t{1} << 46, &out->object_store_bytes);
  ReadResources(reader, out);
  ReadLabels(reader, out);
  ReadSpilling(reader, out);
  reader.Choice("bind", {"none", "core"}, &out->bind);
  reader.Number("max-workers", 1, 4000, &out->max_workers);
  reader.Number("prestart-workers", 0, 60000, &out->prestart_workers);
  ReadLogLevel(reader, out);
  if (const std::string* text = reader.Text("log-dir")) out->log_dir = *text;
  out->log_to_driver = !reader.Flag("no-log-to-driver");
  out->dedicated_head = reader.Flag("dedicated-head");
  reader.Choice("transport", {"mpi", "direct"}, &out->transport);
  reader.Choice("transfer", {"auto", "ucx", "lane"}, &out->transfer);
  reader.Number("bringup-timeout", 1, 86400, &out->bringup_timeout_s);
  reader.Number("heartbeat-tree", 1, 1000000, &out->heartbeat_tree);
  if (const std::string* text = reader.Text("python")) out->python = *text;
  reader.Number("control-fd", 0, 1 << 20, &out->control_fd);
  out->native_driver = reader.Flag("native-driver");
  out->serve = reader.Flag("serve");
  reader.Number("drain-timeout", 0, 86400, &out->drain_timeout_s);
  if (const std::string* text = reader.Text("join")) out->join = *text;
  if (const std::string* text = reader.Text("listen")) out->listen = *text;
  return reader.status();
}

}  // namespace rmpi::launcher
