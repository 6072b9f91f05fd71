// SPDX-License-Identifier: Apache-2.0
// Output frames: how a worker says which task its output is of. What Python code prints goes into the
// worker's pipe as frames, each with the name of the task that wrote it: the raylet may read it when the next
// task runs already. A frame is one write of at most PIPE_BUF, so nobody's bytes come in between. What C code
// and child processes write has no frame; their task is the one that runs when it is read.
#pragma once

#include <climits>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace rmpi {

constexpr size_t kMostFrameBytes = PIPE_BUF;
constexpr size_t kMostFrameName = 255;

// What stands in front of a frame's text. `name` is cut to kMostFrameName.
std::string FrameHead(std::string_view name, size_t text_bytes);
// The most text that fits a frame of that name.
size_t FrameRoom(std::string_view name);

// Takes one pipe's bytes apart.
class FrameReader {
 public:
  // name: empty for text that has no frame.
  using Sink = std::function<void(std::string_view name, std::string_view text)>;

  void Feed(std::string_view bytes, const Sink& sink);
  // No byte follows: what looked like the start of a frame is text.
  void Finish(const Sink& sink);

 private:
  std::string head_;  // the first bytes of what may become a head
  std::string name_;  // of the frame that is being read
  size_t left_ = 0;   // of its text
};

}  // namespace rmpi
