// SPDX-License-Identifier: Apache-2.0
#include "sched/labels.h"

#include <algorithm>
#include <cctype>
#include <string_view>

namespace rmpi::sched {
namespace {

constexpr size_t kLongestName = 63;
constexpr size_t kLongestPrefix = 253;

bool IsAlphanumeric(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

bool IsName(std::string_view text) {
  const auto inner = [](char c) { return IsAlphanumeric(c) || c == '-' || c == '_' || c == '.'; };
  return !text.empty() && text.size() <= kLongestName && IsAlphanumeric(text.front()) &&
         IsAlphanumeric(text.back()) && std::all_of(text.begin(), text.end(), inner);
}

bool IsPrefix(std::string_view text) {
  if (text.empty() || text.size() > kLongestPrefix) return false;
  while (!text.empty()) {
    const size_t dot = std::min(text.find('.'), text.size());
    if (!IsName(text.substr(0, dot))) return false;
    if (dot + 1 == text.size()) return false;  // it ends with a dot
    text.remove_prefix(std::min(dot + 1, text.size()));
  }
  return true;
}

auto Lower(const Labels& labels, const std::string& key) {
  return std::lower_bound(labels.begin(), labels.end(), key,
                          [](const auto& label, const std::string& k) { return label.first < k; });
}

}  // namespace

const std::string* LabelOf(const Labels& labels, const std::string& key) {
  const auto it = Lower(labels, key);
  return it == labels.end() || it->first != key ? nullptr : &it->second;
}

void SetLabel(Labels* labels, const std::string& key, const std::string& value) {
  const auto it = labels->begin() + (Lower(*labels, key) - labels->cbegin());
  if (it != labels->end() && it->first == key) {
    it->second = value;
  } else {
    labels->insert(it, {key, value});
  }
}

bool Holds(const Labels& labels, const LabelRule& rule) {
  const std::string* value = LabelOf(labels, rule.key);
  const auto listed = [&] {
    return value != nullptr && std::find(rule.values.begin(), rule.values.end(), *value) != rule.values.end();
  };
  switch (rule.op) {
    case LabelOp::kIn:
      return listed();
    case LabelOp::kNotIn:
      return !listed();
    case LabelOp::kExists:
      return value != nullptr;
    case LabelOp::kDoesNotExist:
      return value == nullptr;
  }
  return false;  // a number from somebody newer than we are
}

bool Matches(const Labels& labels, const LabelRules& rules) {
  return std::all_of(rules.begin(), rules.end(), [&](const LabelRule& r) { return Holds(labels, r); });
}

bool MatchesAny(const Labels& labels, const std::vector<LabelRules>& alternatives) {
  return alternatives.empty() || std::any_of(alternatives.begin(), alternatives.end(),
                                             [&](const LabelRules& rules) { return Matches(labels, rules); });
}

Status CheckLabel(const std::string& key, const std::string& value) {
  const size_t slash = key.rfind('/');
  const bool prefixed = slash != std::string::npos;
  if (prefixed && !IsPrefix(std::string_view(key).substr(0, slash))) {
    return Status::Invalid("the prefix of label '" + key +
                           "' is not a DNS name (parts with dots between them)");
  }
  if (!IsName(std::string_view(key).substr(prefixed ? slash + 1 : 0))) {
    return Status::Invalid(
        "the name of label '" + key +
        "' is not 1 to 63 letters, digits, '-', '_' or '.', a letter or digit at both ends");
  }
  if (!value.empty() && !IsName(value)) {
    return Status::Invalid(
        "the value of label '" + key + "', '" + value +
        "', is not up to 63 letters, digits, '-', '_' or '.', a letter or digit at both ends");
  }
  return Status::Ok();
}

std::string ToString(const LabelRules& rules) {
  std::string out = "{";
  for (const LabelRule& rule : rules) {
    std::string values;
    for (const std::string& value : rule.values) values += (values.empty() ? "" : ", ") + value;
    constexpr const char* kNames[] = {"in", "!in", "exists", "!exists"};
    out += (out.size() > 1 ? ", " : "") + rule.key + ": " + kNames[static_cast<size_t>(rule.op) % 4] + "(" +
           values + ")";
  }
  return out + "}";
}

std::string ToString(const std::vector<LabelRules>& alternatives) {
  std::string out;
  for (const LabelRules& rules : alternatives) out += (out.empty() ? "" : " or else ") + ToString(rules);
  return out;
}

}  // namespace rmpi::sched
