// SPDX-License-Identifier: Apache-2.0
#include "launcher/drain.h"

#include <fmt/format.h>

#include <boost/program_options.hpp>
#include <cmath>
#include <cstdio>

#include "launcher/run_question.h"
#include "launcher/terminal.h"
#include "runtime/base/host_name.h"
#include "runtime/message/codec.h"
#include "runtime/message/drain_messages.h"

namespace rmpi::launcher {
namespace {

namespace po = boost::program_options;

constexpr int kUsageStatus = 2;
constexpr char kUsage[] = "ray-mpi drain NODE [--session DIR] [--timeout S]";
constexpr double kLongestTimeoutS = 1e6;
// Beyond the time that its work gets: without any news the head is too busy, or gone.
constexpr TimeNs kPatience = 60 * kSecond;

struct Wanted {
  DrainRequest request;
  std::string run;
};

Status Parse(const std::vector<std::string>& words, Wanted* wanted) {
  po::options_description known;
  known.add_options()("node", po::value<std::string>())(
      "session", po::value<std::string>()->default_value(""))("timeout",
                                                              po::value<double>()->default_value(10));
  po::positional_options_description place;
  place.add("node", 1);
  po::variables_map values;
  try {
    po::store(po::command_line_parser(words).options(known).positional(place).run(), values);
  } catch (const po::error& e) {
    return Status::Invalid(fmt::format("{}. Say `{}`", e.what(), kUsage));
  }
  if (values.count("node") == 0 || values["node"].as<std::string>().empty())
    return Status::Invalid(fmt::format(
        "which node? Say `{}`, with a rank, a host name or the beginning of a node's id", kUsage));
  const double timeout_s = values["timeout"].as<double>();
  if (!std::isfinite(timeout_s) || timeout_s < 0 || timeout_s > kLongestTimeoutS)
    return Status::Invalid(
        fmt::format("--timeout: {} is no number of seconds from 0 to {}", timeout_s, kLongestTimeoutS));
  wanted->request.node = values["node"].as<std::string>();
  wanted->request.timeout_ns = static_cast<TimeNs>(timeout_s * kSecond);
  wanted->request.by = "by `ray-mpi drain` on " + HostName();
  wanted->run = values["session"].as<std::string>();
  return Status::Ok();
}

Status Ask(const std::string& session, const DrainRequest& request, DrainReply* reply) {
  Writer question;
  question(request);
  std::vector<std::byte> answer;
  if (Status s = AskRun(session, kAsksDrain, question.bytes(), request.timeout_ns + kPatience, &answer);
      !s.ok())
    return s;
  Reader reader(answer);
  reader(*reply);
  if (!reader.Done()) return Status::Corrupt("the answer of " + session + " cannot be read");
  return reply->refused.empty() ? Status::Ok() : Status::Invalid(reply->refused);
}

std::string Objects(uint32_t count, uint64_t bytes) {
  return fmt::format("{} object{} ({})", count, count == 1 ? "" : "s", Size(bytes));
}

std::string Progress(const DrainReply& reply) {
  const Drained& r = reply.report;
  return fmt::format("{}: {} process{} and {} are left, {} moved", reply.node, r.workers,
                     r.workers == 1 ? "" : "es", Objects(r.left, r.left_bytes),
                     Objects(r.moved, r.moved_bytes));
}

std::string Result(const DrainReply& reply) {
  const Drained& r = reply.report;
  std::string text = fmt::format("{} is drained{}: {} moved to other nodes", reply.node,
                                 reply.stays ? "" : " and leaves", Objects(r.moved, r.moved_bytes));
  if (r.killed != 0)
    text += fmt::format("; {} process{} ended in the middle of something", r.killed,
                        r.killed == 1 ? " was" : "es were");
  if (r.left != 0)
    text += fmt::format("; no node had room for {}, which {}", Objects(r.left, r.left_bytes),
                        reply.stays ? "stay there" : "are lost unless a task can make them again");
  return text;
}

}  // namespace

int DrainNode(const std::vector<std::string>& words, const Environment& environment) {
  Wanted wanted;
  if (const Status s = Parse(words, &wanted); !s.ok()) {
    fmt::print(stderr, "ray-mpi: drain: {}\n", s.message());
    return kUsageStatus;
  }
  std::string session;
  Status s = FindSession(wanted.run, environment, &session);
  DrainReply reply;
  while (s.ok()) {
    s = Ask(session, wanted.request, &reply);
    if (!s.ok() || reply.report.over || !reply.death.empty()) break;
    fmt::print(stderr, "{}\n", Progress(reply));
    wanted.request.number = reply.number;
    wanted.request.seen = reply.version;
  }
  if (s.ok() && !reply.death.empty()) s = Status::Unavailable(reply.death);
  if (!s.ok()) {
    fmt::print(stderr, "ray-mpi: drain: {}\n", s.message());
    return 1;
  }
  fmt::print("{}\n", Result(reply));
  return reply.report.left == 0 ? 0 : 1;
}

}  // namespace rmpi::launcher
