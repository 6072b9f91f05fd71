// SPDX-License-Identifier: Apache-2.0
#include "launcher/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "launcher/help.h"
#include "launcher/option_values.h"
#include "runtime/node/cpu_list.h"
#include "slurm/environment.h"

namespace rmpi::launcher {
namespace {

namespace po = boost::program_options;

// Options that say what to do now; an environment or a file cannot mean them.
bool CommandLineOnly(const std::string& name) {
  static const std::vector<std::string> kNames = {"help",  "version", "ray-path",   "cmake-prefix",
                                                  "ranks", "module",  "control-fd", "config",
                                                  "join",  "listen"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

const po::option_description* Find(const std::string& name) {
  return Table().all.find_nothrow(name, /*approx=*/false);
}

Status Unknown(const std::string& given, const std::string& where) {
  const std::string near = Nearest(given, OptionNames());
  return Status::Invalid(fmt::format(
      "{}unknown option '--{}'{}", where, given,
      near.empty() ? ". `ray-mpi --help` lists them" : fmt::format("; did you mean '--{}'?", near)));
}

// The words before the program, and the program with its arguments.
struct Words {
  std::vector<std::string> options, program;
  bool module = false;
};

// Walks to the first word that is not an option. Boost's parser would go on and eat the program's options.
Status Split(const std::vector<std::string>& args, Words* out) {
  size_t i = 0;
  while (i < args.size()) {
    const std::string& word = args[i];
    if (word == "--") {
      ++i;
      break;
    }
    if (word.size() < 2 || word[0] != '-') break;
    if (word == "-m" || word == "--module") {
      out->module = true;
      ++i;
      if (i == args.size()) return Status::Invalid("-m: the module's name is missing");
      break;
    }
    std::string name = word;
    bool has_value = false;
    if (word[1] == '-') {
      name = word.substr(2, word.find('=') == std::string::npos ? word.npos : word.find('=') - 2);
      has_value = word.find('=') != std::string::npos;
      if (Find(name) == nullptr) return Unknown(name, "");
    } else {
      name = word.substr(0, 2);
      has_value = word.size() > 2;
      if (name != "-n" && name != "-h") {
        return Status::Invalid(fmt::format("unknown option '{}'. `ray-mpi --help` lists them", word));
      }
      name = name == "-n" ? "ranks" : "help";
    }
    out->options.push_back(word);
    ++i;
    if (Find(name)->semantic()->max_tokens() > 0 && Find(name)->semantic()->min_tokens() > 0 && !has_value) {
      if (i == args.size()) return Status::Invalid(fmt::format("{}: its value is missing", word));
      out->options.push_back(args[i++]);
    }
  }
  out->program.assign(args.begin() + static_cast<long>(i), args.end());
  return Status::Ok();
}

// Of a section "rank 0,4-7"; false: it is not about ranks, or about this one.
Status AboutOthers(const std::string& section, int rank, bool* others) {
  constexpr std::string_view kRank = "rank ";
  *others = false;
  if (!section.starts_with(kRank)) return Status::Ok();
  const std::string list = section.substr(kRank.size());
  const CpuList ranks = ParseCpuList(list);
  if (ranks.empty() || list.find_first_not_of("0123456789,-") != std::string::npos) {
    return Status::Invalid(fmt::format("[{}]: '{}' is no list of ranks, such as 0,4-7", section, list));
  }
  *others = !std::binary_search(ranks.begin(), ranks.end(), rank);
  return Status::Ok();
}

// What stands below [rank ..] goes before what is for all.
Status ReadFile(const std::string& path, int rank, po::variables_map* values) {
  std::ifstream file(path);
  if (!file) return Status::Invalid(fmt::format("--config {}: cannot be read", path));
  try {
    po::parsed_options parsed = po::parse_config_file(file, Table().all, /*allow_unregistered=*/true);
    po::parsed_options ours(&Table().all), all(&Table().all);
    for (po::option& option : parsed.options) {
      // Any other [section] means nothing: "section.num-cpus" is num-cpus.
      bool of_rank = false, others = false;
      if (const size_t dot = option.string_key.rfind('.'); dot != std::string::npos) {
        of_rank = option.string_key.starts_with("rank ");
        if (Status s = AboutOthers(option.string_key.substr(0, dot), rank, &others); !s.ok())
          return Status::Invalid(path + ": " + s.message());
        option.string_key.erase(0, dot + 1);
      }
      if (Find(option.string_key) == nullptr || CommandLineOnly(option.string_key)) {
        return Unknown(option.string_key, path + ": ");
      }
      option.unregistered = false;
      if (!others) (of_rank ? ours : all).options.push_back(option);
    }
    po::store(ours, *values);
    po::store(all, *values);
  } catch (const po::error& e) {
    return Status::Invalid(fmt::format("{}: {}", path, e.what()));
  }
  return Status::Ok();
}

// RAY_MPI_NUM_CPUS -> num-cpus.
void ReadEnvironment(const Environment& environment, po::variables_map* values) {
  po::parsed_options parsed(&Table().all);
  constexpr std::string_view kPrefix = "RAY_MPI_";
  for (const auto& [key, value] : environment) {
    if (!key.starts_with(kPrefix)) continue;
    std::string name = key.substr(kPrefix.size());
    for (char& c : name) c = c == '_' ? '-' : static_cast<char>(std::tolower(c));
    if (Find(name) == nullptr || CommandLineOnly(name)) continue;
    parsed.options.emplace_back(name, std::vector<std::string>{value});
  }
  po::store(parsed, *values);
}

Status ReadAll(const std::vector<std::string>& words, const Environment& environment,
               po::variables_map* values) {
  try {
    using Style = po::command_line_style::style_t;
    const int style = Style::unix_style & ~Style::allow_guessing;
    po::store(po::command_line_parser(words).options(Table().all).style(style).run(), *values);
  } catch (const po::error& e) {
    return Status::Invalid(e.what());
  }
  ReadEnvironment(environment, values);
  std::string config;
  if (values->count("config")) {
    config = (*values)["config"].as<std::string>();
  } else if (const auto it = environment.find("RAY_MPI_CONFIG"); it != environment.end()) {
    config = it->second;
  }
  return config.empty() ? Status::Ok() : ReadFile(config, ParseJobEnvironment(environment).rank, values);
}

// The same words without -n and its value: the ranks are started with them.
std::vector<std::string> WithoutRanks(const std::vector<std::string>& words) {
  std::vector<std::string> kept;
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "-n" || words[i] == "--ranks") {
      ++i;
    } else if (!words[i].starts_with("--ranks=") && !words[i].starts_with("-n")) {
      kept.push_back(words[i]);
    }
  }
  return kept;
}

Status ChooseProgram(const Words& words, Options* out) {
  if (!out->join.empty()) {
    if (words.program.empty() && !words.module && out->ranks == 0 && !out->serve && out->listen.empty())
      return Status::Ok();
    return Status::Invalid(
        "--join: a node that joins runs no program, starts no ranks and serves nobody of its own. A program "
        "joins a run with ray.init(\"auto\") or RAY_ADDRESS");
  }
  if (words.program.empty() && !words.module && out->serve) return Status::Ok();
  if (words.program.empty()) {
    return Status::Invalid("no program given: ray-mpi [options] app.py [arguments]. See `ray-mpi --help`");
  }
  out->program = words.program[0];
  out->arguments.assign(words.program.begin() + 1, words.program.end());
  out->kind = words.module                                                      ? ProgramKind::kModule
              : out->program.ends_with(".py") || out->program.ends_with(".pyz") ? ProgramKind::kScript
                                                                                : ProgramKind::kExecutable;
  return Status::Ok();
}

}  // namespace

std::string Nearest(const std::string& word, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    std::vector<size_t> row(candidate.size() + 1);
    for (size_t j = 0; j < row.size(); ++j) row[j] = j;
    for (size_t i = 0; i < word.size(); ++i) {  // Levenshtein, one row at a time
      size_t diagonal = row[0]++;
      for (size_t j = 0; j < candidate.size(); ++j) {
        const size_t change = diagonal + (word[i] != candidate[j]);
        diagonal = row[j + 1];
        row[j + 1] = std::min({change, row[j] + 1, row[j + 1] + 1});
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

Status ParseOptions(const std::vector<std::string>& args, const Environment& environment, Options* out) {
  const bool embedded = !args.empty() && args[0] == "embedded";
  Words words;
  if (Status s = Split({args.begin() + (embedded ? 1 : 0), args.end()}, &words); !s.ok()) return s;
  po::variables_map values;
  if (Status s = ReadAll(words.options, environment, &values); !s.ok()) return s;
  out->mode = Mode::kPrint;
  for (const char* name : {"help", "version", "ray-path", "cmake-prefix"}) {
    if (values.count(name)) {
      out->text = name;
      return Status::Ok();
    }
  }
  if (Status s = ApplyValues(values, out); !s.ok()) return s;
  if (embedded) {
    out->mode = Mode::kEmbedded;
    if (out->control_fd < 0) return Status::Invalid("embedded: --control-fd is missing");
    return Status::Ok();
  }
  if (!words.module && !words.program.empty() && words.program[0] == "doctor") {
    out->mode = Mode::kDoctor;
    return Status::Ok();
  }
  if (!words.module && !words.program.empty() && words.program[0] == "spill") {
    out->mode = Mode::kSpillList;
    if (words.program.size() < 3 || words.program[1] != "ls") {
      return Status::Invalid("spill: say `ray-mpi spill ls FILE...` to list the objects in spill files");
    }
    out->arguments.assign(words.program.begin() + 2, words.program.end());
    return Status::Ok();
  }
  if (!words.module && !words.program.empty() && words.program[0] == "status") {
    out->mode = Mode::kStatus;
    out->arguments.assign(words.program.begin() + 1, words.program.end());
    return Status::Ok();
  }
  if (!words.module && !words.program.empty() && words.program[0] == "drain") {
    out->mode = Mode::kDrain;
    out->arguments.assign(words.program.begin() + 1, words.program.end());
    return Status::Ok();
  }
  if (!words.module && words.program == std::vector<std::string>{"stop"}) {
    out->mode = Mode::kStop;
    return Status::Ok();
  }
  out->mode = out->ranks > 0 ? Mode::kMpirun : Mode::kRun;
  out->option_words = WithoutRanks(words.options);
  return ChooseProgram(words, out);
}

}  // namespace rmpi::launcher
