// SPDX-License-Identifier: Apache-2.0
// A cross-validated search for the best model of some measurements, spread over all nodes of the run.
//
//     ./parameter_study                   # this machine
//     ray-mpi -n 3 ./parameter_study      # three ranks on this machine
//     srun ray-mpi ./parameter_study      # a Slurm allocation
//
// The measurements are heights of a surface over a square, with noise. They are fitted by ridge regression on
// products of Legendre polynomials; how many of these, and how strong a penalty, is searched for. The
// measurements are put once into the object store, where every task of a node reads them in place; every
// setting is a task, every fold of a setting a task within it, and results are taken as they come. The right
// answer is known: the program makes the surface itself, of degree 5, and a good model errs on new
// measurements by no more than their noise.
#include <ray/api.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "program.h"
#include "progress.h"

namespace {

constexpr int kTrueDegree = 5;
constexpr double kNoise = 0.5;  // its standard deviation
constexpr int kMaxDegree = 9;
constexpr size_t kFolds = 5;
constexpr size_t kColumns = 3;  // x, y, height; one row after the other

using Numbers = std::vector<double>;
using Rows = ray::View<double>;  // read where they lie

struct Setting {
  int number = 0;
  int degree = 0;
  double penalty = 0;
  MSGPACK_DEFINE(number, degree, penalty)
};

struct FoldScore {
  double squared_error = 0;
  size_t count = 0;
  std::string host;
  MSGPACK_DEFINE(squared_error, count, host)
};

struct Trial {
  Setting setting;
  double error = 0;  // root mean square over all folds
  std::vector<std::string> hosts;
  MSGPACK_DEFINE(setting, error, hosts)
};

std::string HostName() {
  char name[256] = "";
  ::gethostname(name, sizeof(name) - 1);
  return name;
}

// ---- the model --------------------------------------------------------------------------------------------

size_t CountTerms(int degree) { return static_cast<size_t>((degree + 1) * (degree + 2) / 2); }

/// P_i(x) P_j(y) for all i + j <= degree, with x and y in -1..1.
void Terms(double x, double y, int degree, double* out) {
  double px[kMaxDegree + 1] = {1, x}, py[kMaxDegree + 1] = {1, y};
  for (int k = 2; k <= degree; ++k) {
    px[k] = ((2 * k - 1) * x * px[k - 1] - (k - 1) * px[k - 2]) / k;
    py[k] = ((2 * k - 1) * y * py[k - 1] - (k - 1) * py[k - 2]) / k;
  }
  for (int sum = 0; sum <= degree; ++sum) {
    for (int i = 0; i <= sum; ++i) *out++ = px[i] * py[sum - i];
  }
}

/// Solves a * x = b for a symmetric positive definite a (its lower half, row by row), by Cholesky's factors.
Numbers Solve(Numbers a, Numbers b) {
  const size_t n = b.size();
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      double sum = a[i * n + j];
      for (size_t k = 0; k < j; ++k) sum -= a[i * n + k] * a[j * n + k];
      a[i * n + j] = i == j ? std::sqrt(sum) : sum / a[j * n + j];
    }
    for (size_t k = 0; k < i; ++k) b[i] -= a[i * n + k] * b[k];
    b[i] /= a[i * n + i];
  }
  for (size_t i = n; i-- > 0;) {
    for (size_t k = i + 1; k < n; ++k) b[i] -= a[k * n + i] * b[k];
    b[i] /= a[i * n + i];
  }
  return b;
}

/// The model's coefficients, from all rows but those of one fold (kFolds: from all).
Numbers Fit(const Rows& rows, const Setting& setting, size_t without_fold) {
  const size_t n = CountTerms(setting.degree);
  Numbers a(n * n), b(n), terms(n);
  for (size_t row = 0; row < rows.size() / kColumns; ++row) {
    if (row % kFolds == without_fold) continue;
    const double* r = rows.data() + row * kColumns;
    Terms(r[0], r[1], setting.degree, terms.data());
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j <= i; ++j) a[i * n + j] += terms[i] * terms[j];
      b[i] += terms[i] * r[2];
    }
  }
  for (size_t i = 0; i < n; ++i) a[i * n + i] += setting.penalty;
  return Solve(std::move(a), std::move(b));
}

/// The model's errors on the rows of one fold (kFolds: on all).
FoldScore Score(const Rows& rows, const Setting& setting, const Numbers& coefficients, size_t fold) {
  FoldScore score;
  Numbers terms(coefficients.size());
  for (size_t row = 0; row < rows.size() / kColumns; ++row) {
    if (fold != kFolds && row % kFolds != fold) continue;
    const double* r = rows.data() + row * kColumns;
    Terms(r[0], r[1], setting.degree, terms.data());
    double height = 0;
    for (size_t i = 0; i < terms.size(); ++i) height += coefficients[i] * terms[i];
    score.squared_error += (height - r[2]) * (height - r[2]);
    ++score.count;
  }
  return score;
}

double RootMeanSquare(const std::vector<FoldScore>& scores) {
  double squared_error = 0;
  size_t count = 0;
  for (const FoldScore& s : scores) {
    squared_error += s.squared_error;
    count += s.count;
  }
  return std::sqrt(squared_error / static_cast<double>(count));
}

// ---- the tasks --------------------------------------------------------------------------------------------

FoldScore ScoreFold(Rows rows, Setting setting, size_t fold) {
  FoldScore score = Score(rows, setting, Fit(rows, setting, fold), fold);
  score.host = HostName();
  return score;
}

/// All folds of one setting. The reference is handed on as it is; while the task waits for the folds, its CPU
/// is theirs.
Trial RunTrial(ray::ObjectRef<Numbers> rows, Setting setting);

/// Fits the winner on all rows of the search, judges it on rows that the search has never seen.
double FinalError(Rows rows, Rows held_out, Setting setting) {
  return RootMeanSquare({Score(held_out, setting, Fit(rows, setting, kFolds), kFolds)});
}

RAY_REMOTE(ScoreFold, RunTrial, FinalError);

Trial RunTrial(ray::ObjectRef<Numbers> rows, Setting setting) {
  std::vector<ray::ObjectRef<FoldScore>> folds;
  for (size_t fold = 0; fold < kFolds; ++fold)
    folds.push_back(ray::Task(ScoreFold).Remote(rows, setting, fold));
  Trial trial{setting, 0, {HostName()}};
  std::vector<FoldScore> scores;
  for (const auto& score : ray::Get(folds)) {
    scores.push_back(*score);
    trial.hosts.push_back(score->host);
  }
  trial.error = RootMeanSquare(scores);
  return trial;
}

// ---- the program ------------------------------------------------------------------------------------------

/// Measurements of the true surface at random places. The same numbers on every machine.
Numbers Measure(size_t count, uint64_t seed) {
  std::mt19937_64 generator(seed);
  const auto uniform = [&generator] { return static_cast<double>(generator() >> 11) * 0x1p-53; };
  Numbers rows(count * kColumns), terms(CountTerms(kTrueDegree));
  for (size_t row = 0; row < count; ++row) {
    double* r = &rows[row * kColumns];
    r[0] = 2 * uniform() - 1;
    r[1] = 2 * uniform() - 1;
    Terms(r[0], r[1], kTrueDegree, terms.data());
    for (size_t i = 0; i < terms.size(); ++i) r[2] += std::sin(2.0 * static_cast<double>(i) + 1) * terms[i];
    double noise = -6;  // twelve uniform numbers make a normal one, near enough
    for (int i = 0; i < 12; ++i) noise += uniform();
    r[2] += kNoise * noise;
  }
  return rows;
}

/// Every degree with `penalties` penalties, in factors of 4.
std::vector<Setting> MakeSettings(int penalties) {
  std::vector<Setting> settings;
  for (int degree = 1; degree <= kMaxDegree; ++degree) {
    for (int p = 0; p < penalties; ++p) {
      settings.push_back({static_cast<int>(settings.size()), degree, std::ldexp(1.0, 2 * p - 10)});
    }
  }
  return settings;
}

/// Starts every trial, takes each result as it comes, returns them in the order of the settings.
std::vector<Trial> Search(const std::vector<Setting>& settings, const ray::ObjectRef<Numbers>& rows) {
  std::vector<ray::ObjectRef<Trial>> waiting;
  for (const Setting& setting : settings) waiting.push_back(ray::Task(RunTrial).Remote(rows, setting));
  std::vector<Trial> trials(settings.size());
  Progress progress("trials", settings.size());
  double best = INFINITY;
  while (!waiting.empty()) {
    const auto result = ray::Wait(waiting, 1, -1);
    for (const auto& ref : result.ready) {
      const Trial trial = *ray::Get(ref);
      best = std::min(best, trial.error);
      trials[static_cast<size_t>(trial.setting.number)] = trial;
    }
    waiting.assign(result.unready.begin(), result.unready.end());
    progress.Update(settings.size() - waiting.size(), "best error so far " + std::to_string(best));
  }
  return trials;
}

/// The same without tasks: how many trials came out differently, by as little as one bit.
size_t CountDifferences(const std::vector<Trial>& trials, const Numbers& measured) {
  const Rows rows(measured.data(), measured.size());
  size_t different = 0;
  for (const Trial& trial : trials) {
    std::vector<FoldScore> scores;
    for (size_t fold = 0; fold < kFolds; ++fold) {
      scores.push_back(Score(rows, trial.setting, Fit(rows, trial.setting, fold), fold));
    }
    different += RootMeanSquare(scores) == trial.error ? 0 : 1;
  }
  return different;
}

int Run(size_t measurements, int penalties, bool check) {
  const Numbers measured = Measure(measurements, 1), held_out = Measure(measurements / 4, 2);
  const std::vector<Setting> settings = MakeSettings(penalties);

  const auto start = std::chrono::steady_clock::now();
  // Once: tasks get references, each node holds one copy.
  const ray::ObjectRef<Numbers> rows = ray::Put(measured);
  const std::vector<Trial> trials = Search(settings, rows);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  const Trial& best = *std::min_element(trials.begin(), trials.end(),
                                        [](const Trial& a, const Trial& b) { return a.error < b.error; });
  const double error = *ray::Get(ray::Task(FinalError).Remote(rows, held_out, best.setting));
  std::map<std::string, size_t> places;
  size_t tasks = 0;
  for (const Trial& trial : trials) {
    for (const std::string& host : trial.hosts) ++places[host];
    tasks += trial.hosts.size();
  }
  std::printf("answer: degree %d, penalty %g; error cross-validated %.4f, held-out %.4f (the noise is %g)\n",
              best.setting.degree, best.setting.penalty, best.error, error, kNoise);
  for (const auto& [host, count] : places) std::printf("ran:    %zu tasks on %s\n", count, host.c_str());
  std::printf("speed:  %.0f tasks per second, %.1f s in all\n", static_cast<double>(tasks) / seconds,
              seconds);

  if (best.setting.degree != kTrueDegree || std::abs(error / kNoise - 1) > 0.1) {
    std::printf("wrong:  the surface has degree %d\n", kTrueDegree);
    return 1;
  }
  if (!check) return 0;
  const size_t different = CountDifferences(trials, measured);
  std::printf("check:  %zu of %zu trials differ from a serial computation\n", different, trials.size());
  return different == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  size_t measurements = 20'000;
  int penalties = 12;
  Options options("A cross-validated search for a regression model, as tasks");
  options.Add("measurements", &measurements, "how many to fit, at least 1000")
      .Add("penalties", &penalties, "to try with each of 9 degrees, 1 to 20; every trial is 1 + 5 tasks");
  const auto refuse = [&] {
    const bool right = measurements >= 1000 && penalties >= 1 && penalties <= 20;
    return right ? "" : "--measurements or --penalties is out of its range, see --help";
  };
  return RunProgram("parameter_study", argc, argv, options, refuse,
                    [&](bool check) { return Run(measurements, penalties, check); });
}
