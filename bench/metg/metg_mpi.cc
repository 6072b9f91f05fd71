// SPDX-License-Identifier: Apache-2.0
// The grid over MPI ranks: each has a block of columns; before a row, values of the neighbours' columns come
// by Irecv and ours go by Isend. Run it with `mpirun -n 2 --mca pml ob1 metg_mpi ...`.
#include <mpi.h>

#include "bench/metg/graph.h"

namespace {

using metg::Options;

class Block {
 public:
  Block(const Options& options, int rank, int ranks) : o_(options), rank_(rank), ranks_(ranks) {
    first_ = First(rank);
    last_ = First(rank + 1);
  }

  // Seconds for the whole grid; `sum`: of our part of the last row.
  double Run(uint64_t iterations, uint64_t* sum) {
    std::vector<uint64_t> row(static_cast<size_t>(o_.width), 0), next(row.size(), 0);
    MPI_Barrier(MPI_COMM_WORLD);
    const double start = metg::Now();
    for (int step = 0; step < o_.steps; ++step) {
      if (step > 0) Exchange(row);
      for (int i = first_; i < last_; ++i) {
        metg::Kernel(iterations);
        next[static_cast<size_t>(i)] =
            step == 0 ? 1 : metg::Value(row, metg::Inputs(o_.pattern, o_.width, i));
      }
      row.swap(next);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    const double seconds = metg::Now() - start;
    *sum = 0;
    for (int i = first_; i < last_; ++i) *sum += row[static_cast<size_t>(i)];
    return seconds;
  }

 private:
  int First(int rank) const { return static_cast<int>(int64_t{o_.width} * rank / ranks_); }
  int OwnerOf(int column) const {
    int rank = 0;
    while (First(rank + 1) <= column) ++rank;
    return rank;
  }
  // Whether some column of that rank's block wants `column`.
  bool Wants(int rank, int column) const {
    for (int i = First(rank); i < First(rank + 1); ++i) {
      const auto [from, to] = metg::Inputs(o_.pattern, o_.width, i);
      if (column >= from && column < to) return true;
    }
    return false;
  }

  void Exchange(std::vector<uint64_t>& row) {
    requests_.clear();
    for (int column = 0; column < o_.width; ++column) {
      const int owner = OwnerOf(column);
      auto* value = &row[static_cast<size_t>(column)];
      if (owner != rank_) {
        if (!Wants(rank_, column)) continue;
        MPI_Irecv(value, 1, MPI_UINT64_T, owner, column, MPI_COMM_WORLD, &requests_.emplace_back());
      } else {
        for (int rank = 0; rank < ranks_; ++rank) {
          if (rank == rank_ || !Wants(rank, column)) continue;
          MPI_Isend(value, 1, MPI_UINT64_T, rank, column, MPI_COMM_WORLD, &requests_.emplace_back());
        }
      }
    }
    MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE);
  }

  Options o_;
  int rank_, ranks_, first_, last_;
  std::vector<MPI_Request> requests_;
};

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank = 0, ranks = 1, status = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  const Options options = metg::Parse(argc, argv);
  Block block(options, rank, ranks);
  for (const uint64_t iterations : options.iterations) {
    std::vector<double> seconds;
    for (int i = 0; i < options.repeats; ++i) {
      uint64_t part = 0, sum = 0;
      seconds.push_back(block.Run(iterations, &part));
      MPI_Allreduce(&part, &sum, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
      if (sum != metg::ExpectedSum(options)) status = 1;
    }
    if (rank == 0 && status != 0) std::fprintf(stderr, "metg_mpi: the last row's sum is wrong\n");
    if (rank == 0) metg::Report("MPI", options, iterations, seconds, 0);
  }
  MPI_Finalize();
  return status;
}
