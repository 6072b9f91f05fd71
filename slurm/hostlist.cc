// SPDX-License-Identifier: Apache-2.0
#include "slurm/hostlist.h"

#include <algorithm>
#include <charconv>
#include <cstdint>

namespace rmpi {
namespace {

Status Malformed(std::string_view what, std::string_view text, std::string_view why) {
  return Status::Invalid(std::string(what) + " '" + std::string(text) +
                         "' cannot be read: " + std::string(why));
}

bool ParseNumber(std::string_view text, uint64_t* value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return !text.empty() && error == std::errc() && end == text.data() + text.size();
}

// Takes the part before `separator` off the front of `*rest`; brackets protect what is inside them.
std::string_view TakePart(std::string_view* rest, char separator) {
  size_t i = 0;
  for (int depth = 0; i < rest->size(); ++i) {
    char c = (*rest)[i];
    depth += c == '[' ? 1 : c == ']' ? -1 : 0;
    if (c == separator && depth <= 0) break;
  }
  std::string_view part = rest->substr(0, i);
  rest->remove_prefix(std::min(i + 1, rest->size()));
  return part;
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

std::string Padded(uint64_t number, size_t width) {
  std::string digits = std::to_string(number);
  return digits.size() >= width ? digits : std::string(width - digits.size(), '0') + digits;
}

// "001-004,7" -> 001 002 003 004 7. A word that is no number ("a") stands for itself.
Status ExpandBracket(std::string_view inside, std::vector<std::string>* words) {
  if (inside.empty()) return Malformed("bracket", inside, "it is empty");
  for (std::string_view rest = inside; !rest.empty();) {
    std::string_view item = TakePart(&rest, ',');
    size_t dash = item.find('-');
    uint64_t first = 0, last = 0;
    if (dash == std::string_view::npos) {
      if (item.empty()) return Malformed("bracket", inside, "two commas without a number between them");
      words->emplace_back(item);
      continue;
    }
    std::string_view low = item.substr(0, dash), high = item.substr(dash + 1);
    if (!ParseNumber(low, &first) || !ParseNumber(high, &last)) {
      return Malformed("range", item, "its ends must be numbers");
    }
    if (last < first) return Malformed("range", item, "its end lies before its beginning");
    if (last - first >= kMaxExpansion - words->size()) return Malformed("range", item, "it is too long");
    for (uint64_t n = first; n <= last; ++n) words->push_back(Padded(n, low.size()));
  }
  return Status::Ok();
}

// One item of the list, e.g. "rack[0-1]node[00-01]": expands its first bracket, then each result's next one.
Status ExpandItem(std::string_view item, const std::string& prefix, std::vector<std::string>* hosts) {
  size_t open = item.find('['), close = item.find(']');
  if (open == std::string_view::npos && close == std::string_view::npos) {
    if (hosts->size() >= kMaxExpansion) return Malformed("host list", item, "it names too many hosts");
    hosts->push_back(prefix + std::string(item));
    return Status::Ok();
  }
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) {
    return Malformed("host", item, "its brackets do not match");
  }
  std::string_view inside = item.substr(open + 1, close - open - 1);
  if (inside.find('[') != std::string_view::npos) return Malformed("host", item, "brackets inside brackets");
  std::vector<std::string> words;
  if (Status s = ExpandBracket(inside, &words); !s.ok()) return s;
  const std::string head = prefix + std::string(item.substr(0, open));
  for (const std::string& word : words) {
    if (Status s = ExpandItem(item.substr(close + 1), head + word, hosts); !s.ok()) return s;
  }
  return Status::Ok();
}

}  // namespace

Status ExpandHostlist(std::string_view list, std::vector<std::string>* hosts) {
  for (std::string_view rest = list; !rest.empty();) {
    std::string_view item = Trim(TakePart(&rest, ','));
    if (item.empty()) continue;
    if (Status s = ExpandItem(item, "", hosts); !s.ok()) return s;
  }
  return Status::Ok();
}

Status ExpandCounts(std::string_view counts_text, std::vector<int>* counts) {
  for (std::string_view rest = counts_text; !rest.empty();) {
    std::string_view item = TakePart(&rest, ',');
    uint64_t count = 0, repeat = 1;
    size_t open = item.find("(x");
    bool good = ParseNumber(item.substr(0, open), &count) && count <= INT32_MAX;
    if (good && open != std::string_view::npos) {
      std::string_view times = item.substr(open + 2);
      good = times.ends_with(')') && ParseNumber(times.substr(0, times.size() - 1), &repeat);
    }
    if (!good) return Malformed("list of counts", counts_text, "expected e.g. 128(x2),64");
    if (repeat > kMaxExpansion - counts->size()) return Malformed("list of counts", counts_text, "too long");
    counts->insert(counts->end(), repeat, static_cast<int>(count));
  }
  return Status::Ok();
}

}  // namespace rmpi
