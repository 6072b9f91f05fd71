// SPDX-License-Identifier: Apache-2.0
// The heat equation on a square, by explicit time steps over a grid that is cut into blocks.
//
//     ./heat                                 # this machine
//     ray-mpi -n 3 ./heat                    # three ranks on this machine
//     srun ray-mpi ./heat --points 4096      # a Slurm allocation
//
// Every block of every step is an object. One task makes a block out of its predecessor and the edges of the
// four neighbours; a second one copies the edges out of the new block, so that 4 rows of numbers travel
// between the nodes and never whole blocks: tasks run where their large arguments lie. The program submits
// steps ahead of what has been computed; which task waits for which follows from the references alone. The
// start is a sum of two waves, of which the scheme's exact solution is known.
#include <ray/api.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "program.h"
#include "progress.h"

namespace {

constexpr double kRatio = 0.2;     // time step * conductivity / grid spacing^2; stable up to 0.25
constexpr size_t kAheadSteps = 4;  // submitted before they can run, which bounds the memory of the run

using Numbers = std::vector<double>;
using Row = ray::View<double>;  // read where it lies

double NextValue(double here, double north, double south, double west, double east) {
  return here + kRatio * ((north + south) + (west + east) - 4 * here);
}

// ---- the start and what must become of it -----------------------------------------------------------------

/// sin(p pi x) sin(q pi y), which a step of the scheme only makes smaller, by a known factor.
struct Wave {
  double amplitude;
  int p;
  int q;

  double At(size_t row, size_t column, size_t points) const {
    const double h = M_PI / static_cast<double>(points + 1);
    return amplitude * std::sin(p * h * static_cast<double>(column + 1)) *
           std::sin(q * h * static_cast<double>(row + 1));
  }
  double FactorOfAStep(size_t points) const {
    const double h = M_PI / static_cast<double>(points + 1);
    return 1 - 4 * kRatio * (std::pow(std::sin(p * h / 2), 2) + std::pow(std::sin(q * h / 2), 2));
  }
};
constexpr Wave kWaves[] = {{1, 1, 2}, {0.5, 5, 3}};

double Exact(size_t row, size_t column, size_t points, size_t steps) {
  double sum = 0;
  for (const Wave& wave : kWaves) {
    sum += wave.At(row, column, points) * std::pow(wave.FactorOfAStep(points), static_cast<double>(steps));
  }
  return sum;
}

// ---- the tasks --------------------------------------------------------------------------------------------

enum Edge : size_t { kNorth, kSouth, kWest, kEast };  // their order in what CopyEdges returns

const double* EdgeOf(const Row& edges, Edge edge) { return edges.data() + edge * (edges.size() / 4); }

/// The block of the start whose first point stands at (row, column); side * side points, row by row.
Numbers MakeBlock(size_t row, size_t column, size_t side, size_t points) {
  Numbers block;
  block.reserve(side * side);
  for (size_t i = 0; i < side; ++i) {
    for (size_t j = 0; j < side; ++j) block.push_back(Exact(row + i, column + j, points, 0));
  }
  return block;
}

Numbers CopyEdges(Row block) {
  const auto side = static_cast<size_t>(std::lround(std::sqrt(static_cast<double>(block.size()))));
  Numbers edges(block.begin(), block.begin() + side);
  edges.insert(edges.end(), block.end() - side, block.end());
  for (size_t i = 0; i < side; ++i) edges.push_back(block[i * side]);
  for (size_t i = 0; i < side; ++i) edges.push_back(block[i * side + side - 1]);
  return edges;
}

/// One step of one block; the edges are all four of each neighbour.
Numbers StepBlock(Row block, Row north, Row south, Row west, Row east) {
  const size_t side = north.size() / 4;
  Numbers next(side * side);
  const double* const west_of = EdgeOf(west, kEast);
  const double* const east_of = EdgeOf(east, kWest);
  for (size_t i = 0; i < side; ++i) {
    const double* const here = block.data() + i * side;
    const double* const above = i == 0 ? EdgeOf(north, kSouth) : here - side;
    const double* const below = i == side - 1 ? EdgeOf(south, kNorth) : here + side;
    double* const out = next.data() + i * side;
    for (size_t j = 0; j < side; ++j) {
      out[j] = NextValue(here[j], above[j], below[j], j == 0 ? west_of[i] : here[j - 1],
                         j == side - 1 ? east_of[i] : here[j + 1]);
    }
  }
  return next;
}

RAY_REMOTE(MakeBlock, CopyEdges, StepBlock);

// ---- the program ------------------------------------------------------------------------------------------

using NumbersRef = ray::ObjectRef<Numbers>;

/// The blocks of one step, row by row. The plate's rim has the temperature 0: a block there has `cold` as
/// neighbour.
class Plate {
 public:
  Plate(size_t points, size_t blocks_per_side)
      : points_(points), width_(blocks_per_side), cold_(ray::Put(Numbers(4 * points / blocks_per_side))) {
    const size_t side = points / width_;
    for (size_t i = 0; i < width_ * width_; ++i) {
      blocks_.push_back(ray::Task(MakeBlock).Remote(i / width_ * side, i % width_ * side, side, points));
      edges_.push_back(ray::Task(CopyEdges).Remote(blocks_.back()));
    }
  }

  /// Submits the tasks of a step. The references to the last one's blocks go, and with them, in time, the
  /// blocks.
  void Step() {
    std::vector<NumbersRef> blocks, edges;
    for (size_t i = 0; i < blocks_.size(); ++i) {
      const size_t row = i / width_, column = i % width_;
      const NumbersRef& north = row == 0 ? cold_ : edges_[i - width_];
      const NumbersRef& south = row == width_ - 1 ? cold_ : edges_[i + width_];
      const NumbersRef& west = column == 0 ? cold_ : edges_[i - 1];
      const NumbersRef& east = column == width_ - 1 ? cold_ : edges_[i + 1];
      blocks.push_back(ray::Task(StepBlock).Remote(blocks_[i], north, south, west, east));
      edges.push_back(ray::Task(CopyEdges).Remote(blocks.back()));
    }
    blocks_ = std::move(blocks);
    edges_ = std::move(edges);
  }

  const std::vector<NumbersRef>& edges() const { return edges_; }

  /// All points, row by row.
  Numbers Collect() const {
    const size_t side = points_ / width_;
    Numbers all(points_ * points_);
    for (size_t i = 0; i < blocks_.size(); ++i) {
      const Row block = ray::GetView(blocks_[i]);
      double* const to = all.data() + i / width_ * side * points_ + i % width_ * side;
      for (size_t row = 0; row < side; ++row) {
        std::copy_n(block.data() + row * side, side, to + row * points_);
      }
    }
    return all;
  }

 private:
  size_t points_;
  size_t width_;  // in blocks
  NumbersRef cold_;
  std::vector<NumbersRef> blocks_;
  std::vector<NumbersRef> edges_;
};

/// The same in one array, without tasks.
Numbers ComputeSerially(size_t points, size_t steps) {
  const size_t width = points + 2;  // with the cold rim
  Numbers now(width * width), next(width * width);
  for (size_t i = 0; i < points; ++i) {
    for (size_t j = 0; j < points; ++j) now[(i + 1) * width + j + 1] = Exact(i, j, points, 0);
  }
  for (size_t step = 0; step < steps; ++step) {
    for (size_t i = 1; i <= points; ++i) {
      for (size_t j = 1; j <= points; ++j) {
        const double* const at = &now[i * width + j];
        next[i * width + j] = NextValue(*at, *(at - width), *(at + width), *(at - 1), *(at + 1));
      }
    }
    std::swap(now, next);
  }
  Numbers inner;
  for (size_t i = 1; i <= points; ++i)
    inner.insert(inner.end(), &now[i * width + 1], &now[i * width + 1] + points);
  return inner;
}

/// The largest difference between two fields.
double Difference(const Numbers& a, const Numbers& b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

int Run(size_t points, size_t blocks_per_side, size_t steps, bool check) {
  Plate plate(points, blocks_per_side);
  ray::Get(plate.edges());  // the start is made before the clock runs
  Progress progress("steps", steps);
  std::deque<std::vector<NumbersRef>> submitted;  // only edges: they are small
  size_t done = 0;
  for (size_t step = 1; step <= steps; ++step) {
    plate.Step();
    submitted.push_back(plate.edges());
    while (submitted.size() > (step < steps ? kAheadSteps : 0)) {
      ray::Get(submitted.front());
      submitted.pop_front();
      const double steps_per_second = static_cast<double>(++done) / progress.seconds();
      progress.Update(done, std::to_string(std::lround(steps_per_second)) + " steps/s");
    }
  }
  const double seconds = progress.seconds();
  const Numbers field = plate.Collect();

  Numbers exact;
  for (size_t i = 0; i < points * points; ++i) exact.push_back(Exact(i / points, i % points, points, steps));
  const double error = Difference(field, exact);
  const auto tasks = static_cast<double>(2 * steps * blocks_per_side * blocks_per_side);
  std::printf("answer: %zu steps of %zu x %zu points; off the exact solution by %.1e at most\n", steps,
              points, points, error);
  std::printf("speed:  %.1f steps/s, %.0f tasks/s, %.0f million points/s\n",
              static_cast<double>(steps) / seconds, tasks / seconds,
              static_cast<double>(points * points * steps) / seconds / 1e6);
  bool right = error < 1e-9;
  if (!right) std::printf("wrong:  the exact solution is another one\n");
  if (check) {
    const double difference = Difference(field, ComputeSerially(points, steps));
    std::printf("check:  off a serial computation by %.1e at most\n", difference);
    right = right && difference < 1e-12;
  }
  return right ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  size_t points = 1024, blocks = 4, steps = 100;
  Options options("The heat equation by tasks over blocks of a grid");
  options.Add("points", &points, "along each side of the grid, a multiple of --blocks")
      .Add("blocks", &blocks, "along each side; every block and step is two tasks")
      .Add("steps", &steps, "in time, at least 1");
  const auto refuse = [&] {
    const bool right = blocks >= 1 && points >= blocks && points % blocks == 0 && steps >= 1;
    return right ? "" : "--points must be a multiple of --blocks, and --steps at least 1";
  };
  return RunProgram("heat", argc, argv, options, refuse,
                    [&](bool check) { return Run(points, blocks, steps, check); });
}
