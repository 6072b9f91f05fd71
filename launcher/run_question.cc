// SPDX-License-Identifier: Apache-2.0
#include "launcher/run_question.h"

#include <cstring>
#include <tuple>

#include "launcher/run_directory.h"
#include "runtime/base/session_socket.h"

namespace rmpi::launcher {

Status FindSession(const std::string& wanted, const Environment& environment, std::string* session) {
  *session = wanted.empty() ? Get(environment, "RAY_MPI_SESSION") : wanted;
  if (!session->empty()) return Status::Ok();
  const std::string& job = Get(environment, "SLURM_JOB_ID");
  const auto rank_of = [&](const FoundRun& run) {
    const bool head = run.session.rank == 0 && !run.session.joined;
    return std::tuple(run.job == job, head, run.session.created);
  };
  std::optional<FoundRun> best;
  for (const FoundRun& run : FindRuns(environment)) {
    if (run.session.node.empty()) continue;  // it is coming up
    if (!best || rank_of(run) > rank_of(*best)) best = run;
  }
  if (!best)
    return Status::NotFound(
        "no run of yours is up on this node; --session DIR names one by its run directory");
  *session = best->path;
  return Status::Ok();
}

Status AskRun(const std::string& session, Question question, std::span<const std::byte> body, TimeNs patience,
              std::vector<std::byte>* answer) {
  ClientHello hello;
  hello.asks = question;
  std::vector<std::byte> datagram(sizeof hello + body.size());
  std::memcpy(datagram.data(), &hello, sizeof hello);
  if (!body.empty()) std::memcpy(datagram.data() + sizeof hello, body.data(), body.size());
  std::vector<std::byte> other;
  if (Status s = AskSessionAtLength(session, datagram, patience, answer, &other); !s.ok()) return s;
  if (other.empty()) return Status::Ok();
  return Status::Unavailable(RefusalIn(other).value_or("the runtime at " + session +
                                                       " gave no answer that this ray-mpi understands"));
}

}  // namespace rmpi::launcher
