// SPDX-License-Identifier: Apache-2.0
#include "launcher/status.h"

#include <fmt/format.h>
#include <unistd.h>

#include <boost/program_options.hpp>
#include <cstdio>

#include "launcher/run_question.h"
#include "runtime/message/codec.h"

namespace rmpi::launcher {
namespace {

namespace po = boost::program_options;

constexpr int kUsageStatus = 2;
constexpr TimeNs kPatience = 10 * kSecond;  // nodes get 2 s, the head may be busy

}  // namespace

int ShowStatus(const std::vector<std::string>& words, const Environment& environment) {
  po::options_description known;
  known.add_options()("session", po::value<std::string>()->default_value(""))("json", "")("verbose,v", "");
  po::variables_map values;
  try {
    po::store(po::command_line_parser(words).options(known).positional({}).run(), values);
  } catch (const po::error& e) {
    fmt::print(stderr, "ray-mpi: status: {}. Say `ray-mpi status [--session DIR] [--json] [-v]`\n", e.what());
    return kUsageStatus;
  }
  std::string session;
  std::vector<std::byte> answer;
  Status s = FindSession(values["session"].as<std::string>(), environment, &session);
  if (s.ok()) s = AskRun(session, kAsksStatus, {}, kPatience, &answer);
  RunStatus status;
  if (s.ok()) {
    Reader reader(answer);
    reader(status);
    if (!reader.Done()) s = Status::Corrupt("the answer of " + session + " cannot be read");
  }
  if (!s.ok()) {
    fmt::print(stderr, "ray-mpi: status: {}\n", s.message());
    return 1;
  }
  const bool all = values.count("verbose") != 0;
  if (values.count("json") != 0) {
    fmt::print("{}\n", StatusJson(status));
  } else {
    fmt::print("{}", (isatty(STDOUT_FILENO) == 1 ? StatusTables : StatusLines)(status, all));
  }
  return 0;
}

}  // namespace rmpi::launcher
