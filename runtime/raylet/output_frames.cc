// SPDX-License-Identifier: Apache-2.0
#include "runtime/raylet/output_frames.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

namespace rmpi {
namespace {

constexpr std::string_view kMagic("\0\x1frmpi\x1f\0", 8);
constexpr size_t kFixed = kMagic.size() + 2 + 1;  // u16 bytes of text, u8 bytes of name; then the name

}  // namespace

std::string FrameHead(std::string_view name, size_t text_bytes) {
  name = name.substr(0, kMostFrameName);
  std::string head(kMagic);
  const auto size = static_cast<uint16_t>(text_bytes);
  head.append(reinterpret_cast<const char*>(&size), sizeof size);
  head.push_back(static_cast<char>(name.size()));
  head.append(name);
  return head;
}

size_t FrameRoom(std::string_view name) {
  return kMostFrameBytes - kFixed - std::min(name.size(), kMostFrameName);
}

void FrameReader::Feed(std::string_view bytes, const Sink& sink) {
  std::string joined;
  if (!head_.empty()) {
    joined = std::exchange(head_, {});
    joined.append(bytes);
    bytes = joined;
  }
  while (!bytes.empty()) {
    if (left_ != 0) {
      const size_t n = std::min(left_, bytes.size());
      sink(name_, bytes.substr(0, n));
      left_ -= n;
      bytes.remove_prefix(n);
      continue;
    }
    // Text without a frame, up to the next head or to what may become one.
    size_t at = bytes.find(kMagic.front());
    while (at != std::string_view::npos &&
           kMagic.substr(0, bytes.size() - at) != bytes.substr(at, kMagic.size())) {
      at = bytes.find(kMagic.front(), at + 1);
    }
    if (at != 0) sink({}, bytes.substr(0, at));
    if (at == std::string_view::npos) return;
    bytes.remove_prefix(at);
    const size_t name_size = bytes.size() < kFixed ? 0 : static_cast<uint8_t>(bytes[kFixed - 1]);
    if (bytes.size() < kFixed + name_size) {
      head_ = bytes;
      return;
    }
    uint16_t text = 0;
    std::memcpy(&text, bytes.data() + kMagic.size(), sizeof text);
    name_ = bytes.substr(kFixed, name_size);
    left_ = text;
    bytes.remove_prefix(kFixed + name_size);
  }
}

void FrameReader::Finish(const Sink& sink) {
  if (!head_.empty()) sink({}, std::exchange(head_, {}));
}

}  // namespace rmpi
