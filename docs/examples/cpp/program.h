// SPDX-License-Identifier: Apache-2.0
// What the mains of all examples do: options, ray::Init, the run, and an error as a line and status 2.
#pragma once

#include <ray/api.h>

#include <boost/program_options.hpp>
#include <exception>
#include <iostream>
#include <string>

/// The options of a program; every one has --help and --check.
class Options : public boost::program_options::options_description {
 public:
  explicit Options(const std::string& what) : options_description(what + ". Options") {
    add_options()("help,h", "this text")("check",
                                         "compute everything once more in this process, and compare");
  }
  /// A number with its default, which is what `value` is now.
  template <typename T>
  Options& Add(const char* name, T* value, const char* what) {
    add_options()(name, boost::program_options::value(value)->default_value(*value), what);
    return *this;
  }
};

/// Runs an example and returns its status. `refuse` returns what is wrong with the options, or ""; `run` is
/// told whether to check, and is called in the driver alone: in a worker ray::Init does not return.
template <typename Refuse, typename Run>
int RunProgram(const char* name, int argc, char** argv, const Options& options, Refuse&& refuse, Run&& run) {
  namespace po = boost::program_options;
  try {
    po::variables_map given;
    po::store(po::parse_command_line(argc, argv, options), given);
    po::notify(given);
    if (given.count("help") != 0) {
      std::cout << options;
      return 0;
    }
    if (const std::string wrong = refuse(); !wrong.empty()) throw po::error(wrong);
    ray::Init();
    const int status = run(given.count("check") != 0);
    ray::Shutdown();
    return status;
  } catch (const std::exception& e) {
    std::cerr << name << ": " << e.what() << "\n";
    return 2;
  }
}
