// SPDX-License-Identifier: Apache-2.0
// LogRelay: the output of one node's workers. Each worker writes into two pipes (see output_frames.h); whole
// lines go, with the name of the task that wrote them, to the driver of its job and, if asked for, into
// per-worker files, named after host and process: nodes often share the folder, and process numbers recur.
// A driver that does not keep up stops the reading, and so, in the end, the workers that write: nothing is
// dropped.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "runtime/base/unique_fd.h"
#include "runtime/ids/ids.h"
#include "runtime/raylet/event_loop.h"
#include "runtime/raylet/output_frames.h"

namespace rmpi {

struct WorkerOutput {
  uint64_t token = 0;
  pid_t pid = 0;
  uint16_t slot = 0;  // 0: not connected yet
  JobId job;
};

class LogRelay {
 public:
  // Lines of one stream, each with its newline. task: its name, empty if the stream does not tell.
  using Sink = std::function<void(const WorkerOutput& who, bool is_stderr, std::string_view task,
                                  std::string_view lines)>;
  // Whether a job's driver takes more just now.
  using Ready = std::function<bool(JobId job)>;

  LogRelay(EventLoop* loop, std::string log_dir, std::string host, Sink sink, Ready ready)
      : loop_(loop),
        log_dir_(std::move(log_dir)),
        host_(std::move(host)),
        sink_(std::move(sink)),
        ready_(std::move(ready)) {}

  // Takes the reading ends. Closed, and forgotten, at their end of file.
  void Add(uint64_t token, UniqueFd out, UniqueFd err);
  WorkerOutput* Find(uint64_t token);
  // Reads on where a driver was slow. Returns whether some stream still waits.
  bool Resume();
  // Everything that is in the pipes of a job's workers now (job 0: of all), the last line whole or not.
  void Drain(JobId job);
  bool Open(JobId job) const;  // a pipe of such a worker still has a writer
  // The last lines of what a worker wrote to stderr, for those who are told of its death; asked for once,
  // when it is dead. At most kTailLines and kTailBytes.
  std::string TakeTail(uint64_t token);

 private:
  struct Stream {
    UniqueFd fd;
    UniqueFd file;
    FrameReader frames;
    std::string task;     // that wrote `partial`; empty: not known
    std::string partial;  // lines that are not yet told, the last one often without its end
    bool paused = false;
  };
  struct Worker {
    WorkerOutput who;
    Stream streams[2];
    std::deque<std::string> tail;  // of stderr
    size_t tail_bytes = 0;
    bool tail_taken = false;
  };

  enum class Got { kData, kNothing, kEnd };
  void Watch(const Worker& w, int which);
  Got Read(Worker* w, int which);
  void Take(Worker* w, int which, std::string_view task, std::string_view text);
  void Emit(Worker* w, int which, bool all);
  void Close(Worker* w, int which);
  static void Remember(Worker* w, std::string_view lines);

  EventLoop* loop_;
  std::string log_dir_;
  std::string host_;
  Sink sink_;
  Ready ready_;
  std::unordered_map<uint64_t, std::unique_ptr<Worker>> workers_;
  // Of workers whose pipes ended before their death was told.
  std::unordered_map<uint64_t, std::string> tails_;
};

}  // namespace rmpi
