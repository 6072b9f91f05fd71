// SPDX-License-Identifier: Apache-2.0
// A linear model, fitted by gradient descent: actors hold the data, and one of them holds the model.
//
//     ./parameter_server                              # this machine
//     ray-mpi -n 3 ./parameter_server                 # three ranks on this machine
//     srun ray-mpi ./parameter_server --shards 64     # a Slurm allocation
//
// Each shard makes its part of the measurements when it is created and keeps it; only parameters and
// gradients travel. The program never waits for a step: the calls of one caller start in their order, also
// when an argument of an earlier one is still to come. So the model's next parameters are those after all
// gradients of the step before, and which call waits for which follows from the order of submission and the
// references alone.
#include <ray/api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "program.h"
#include "progress.h"

namespace {

constexpr double kNoise = 0.1;     // of each measurement
constexpr double kRate = 2.0;      // of the descent; stable below 6 for features between -1 and 1
constexpr size_t kAheadSteps = 8;  // submitted before they can run

using Numbers = std::vector<double>;
using Row = ray::View<double>;  // read where it lies

double TrueParameter(size_t i) { return std::sin(3.0 * static_cast<double>(i) + 1); }

// ---- the actors -------------------------------------------------------------------------------------------

/// A part of the measurements: features between -1 and 1, and what was measured.
class Shard {
 public:
  static Shard* Create(uint64_t seed, size_t rows, size_t features) {
    return new Shard(seed, rows, features);
  }

  /// Of half the mean squared error of these parameters, over this shard.
  Numbers Gradient(Row parameters) const {
    const size_t features = parameters.size();
    Numbers gradient(features);
    for (size_t row = 0; row < measured_.size(); ++row) {
      const double* const x = &features_[row * features];
      double error = -measured_[row];
      for (size_t i = 0; i < features; ++i) error += x[i] * parameters[i];
      for (size_t i = 0; i < features; ++i) gradient[i] += error * x[i];
    }
    for (double& g : gradient) g /= static_cast<double>(measured_.size());
    return gradient;
  }

 private:
  Shard(uint64_t seed, size_t rows, size_t features) {
    std::mt19937_64 generator(seed);  // the same numbers on every machine
    const auto uniform = [&generator] { return static_cast<double>(generator() >> 11) * 0x1p-52 - 1; };
    for (size_t row = 0; row < rows; ++row) {
      double sum = kNoise * std::sqrt(3.0) * uniform();
      for (size_t i = 0; i < features; ++i) {
        features_.push_back(uniform());
        sum += TrueParameter(i) * features_.back();
      }
      measured_.push_back(sum);
    }
  }

  Numbers features_;  // row by row
  Numbers measured_;
};

class Model {
 public:
  static Model* Create(size_t features) { return new Model(features); }

  Numbers Parameters() const { return parameters_; }
  void Add(Row gradient) {
    for (size_t i = 0; i < sum_.size(); ++i) sum_[i] += gradient[i];
    ++added_;
  }
  /// Goes down along the mean of what was added since the last step. Returns how far.
  double Step() {
    double length = 0;
    for (size_t i = 0; i < sum_.size(); ++i) {
      const double step = kRate * sum_[i] / added_;
      parameters_[i] -= step;
      length += step * step;
    }
    sum_.assign(sum_.size(), 0);
    added_ = 0;
    return std::sqrt(length);
  }

 private:
  explicit Model(size_t features) : parameters_(features), sum_(features) {}

  Numbers parameters_;
  Numbers sum_;
  int added_ = 0;
};

RAY_REMOTE(Shard::Create, &Shard::Gradient, Model::Create, &Model::Parameters, &Model::Add, &Model::Step);

// ---- the program ------------------------------------------------------------------------------------------

using Shards = std::vector<ray::ActorHandle<Shard>>;

ray::ObjectRef<double> SubmitStep(const ray::ActorHandle<Model>& model, const Shards& shards) {
  const ray::ObjectRef<Numbers> parameters = model.Task(&Model::Parameters).Remote();
  std::vector<ray::ObjectRef<Numbers>> gradients;
  for (const auto& shard : shards) gradients.push_back(shard.Task(&Shard::Gradient).Remote(parameters));
  for (const auto& gradient : gradients) model.Task(&Model::Add).Remote(gradient);
  return model.Task(&Model::Step).Remote();
}

/// The same without actors: Shard and Model are plain classes, too.
Numbers FitSerially(size_t shards, size_t rows, size_t features, size_t steps) {
  std::vector<Shard*> all;
  for (size_t i = 0; i < shards; ++i) all.push_back(Shard::Create(i + 1, rows, features));
  Model* const model = Model::Create(features);
  for (size_t step = 0; step < steps; ++step) {
    const Numbers parameters = model->Parameters();
    for (const Shard* shard : all) {
      const Numbers gradient = shard->Gradient(Row(parameters.data(), features));
      model->Add(Row(gradient.data(), features));
    }
    model->Step();
  }
  const Numbers fitted = model->Parameters();
  for (const Shard* shard : all) delete shard;
  delete model;
  return fitted;
}

int Run(size_t shard_count, size_t rows, size_t features, size_t steps, bool check) {
  const auto model = ray::Actor(Model::Create).SetName("model").Remote(features);
  Shards shards;
  for (size_t i = 0; i < shard_count; ++i)
    shards.push_back(ray::Actor(Shard::Create).Remote(i + 1, rows, features));

  Progress progress("steps", steps);
  std::deque<ray::ObjectRef<double>> submitted;
  size_t done = 0;
  for (size_t step = 1; step <= steps; ++step) {
    submitted.push_back(SubmitStep(model, shards));
    while (submitted.size() > (step < steps ? kAheadSteps : 0)) {
      char note[64];
      std::snprintf(note, sizeof note, "the last was %.1e long", *ray::Get(submitted.front()));
      submitted.pop_front();
      progress.Update(++done, note);
    }
  }
  const Numbers fitted = *ray::Get(model.Task(&Model::Parameters).Remote());

  double error = 0;
  for (size_t i = 0; i < features; ++i) error = std::max(error, std::abs(fitted[i] - TrueParameter(i)));
  // Of each parameter the deviation is the noise over the root of the sum of squared features; five of them
  // are much.
  const double allowed = 5 * kNoise / std::sqrt(static_cast<double>(shard_count * rows) / 3);
  const auto calls = static_cast<double>(steps * (2 * shard_count + 2));
  std::printf(
      "answer: %zu parameters of %zu measurements, off the true ones by %.4f at most (%.4f would be much)\n",
      features, shard_count * rows, error, allowed);
  std::printf("speed:  %.0f steps/s, %.0f calls/s\n", static_cast<double>(steps) / progress.seconds(),
              calls / progress.seconds());
  if (error > allowed) {
    std::printf("wrong:  the true parameters are others\n");
    return 1;
  }
  if (!check) return 0;
  const Numbers serial = FitSerially(shard_count, rows, features, steps);
  size_t different = 0;
  for (size_t i = 0; i < features; ++i) different += serial[i] == fitted[i] ? 0 : 1;
  std::printf("check:  %zu of %zu parameters differ from a serial computation\n", different, features);
  return different == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  size_t shards = 4, rows = 20'000, features = 50, steps = 60;
  Options options("A linear model fitted by actors: shards of the data, and a server of the parameters");
  options.Add("shards", &shards, "actors that hold measurements, at least 1")
      .Add("rows", &rows, "measurements of each, at least 1000")
      .Add("features", &features, "of each measurement, 1 to 1000")
      .Add("steps", &steps, "of the descent, at least 30");
  const auto refuse = [&] {
    const bool right = shards >= 1 && rows >= 1000 && features >= 1 && features <= 1000 && steps >= 30;
    return right ? "" : "--shards, --rows, --features or --steps is out of its range, see --help";
  };
  return RunProgram("parameter_server", argc, argv, options, refuse,
                    [&](bool check) { return Run(shards, rows, features, steps, check); });
}
