// SPDX-License-Identifier: Apache-2.0
// What MPI does with the same bytes between the same nodes, beside which bench/network_rows puts ours:
//   mpi_limits pingpong BYTES ROUNDS   ranks 0 and 1; seconds of one way: half of a round trip
//   mpi_limits alltoall BYTES ROUNDS   all ranks; BYTES from each to each; seconds
// Buffers are touched before; one round is not counted. Rank 0 prints one JSON line.
#include <mpi.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

double PingPong(std::vector<char>* buffer, int rank) {
  const int bytes = static_cast<int>(buffer->size());
  const double start = MPI_Wtime();
  if (rank == 0) {
    MPI_Send(buffer->data(), bytes, MPI_CHAR, 1, 0, MPI_COMM_WORLD);
    MPI_Recv(buffer->data(), bytes, MPI_CHAR, 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  } else if (rank == 1) {
    MPI_Recv(buffer->data(), bytes, MPI_CHAR, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Send(buffer->data(), bytes, MPI_CHAR, 0, 0, MPI_COMM_WORLD);
  }
  return (MPI_Wtime() - start) / 2;
}

double AllToAll(const std::vector<char>& out, std::vector<char>* in, int each) {
  const double start = MPI_Wtime();
  MPI_Alltoall(out.data(), each, MPI_CHAR, in->data(), each, MPI_CHAR, MPI_COMM_WORLD);
  MPI_Barrier(MPI_COMM_WORLD);
  return MPI_Wtime() - start;
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank = 0, size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  const std::string what = argc == 4 ? argv[1] : "";
  if ((what != "pingpong" && what != "alltoall") || size < 2) {
    if (rank == 0) std::fprintf(stderr, "usage: srun -N2.. mpi_limits pingpong|alltoall BYTES ROUNDS\n");
    MPI_Abort(MPI_COMM_WORLD, 2);
  }
  const int bytes = std::atoi(argv[2]), rounds = std::atoi(argv[3]);
  const bool all = what == "alltoall";
  const size_t buffer_bytes = static_cast<size_t>(bytes) * static_cast<size_t>(all ? size : 1);
  std::vector<char> out(buffer_bytes, static_cast<char>(rank)), in(all ? buffer_bytes : 0, 'x');
  std::string samples;
  for (int round = 0; round <= rounds; ++round) {
    MPI_Barrier(MPI_COMM_WORLD);
    const double seconds = all ? AllToAll(out, &in, bytes) : PingPong(&out, rank);
    if (round != 0) samples += (samples.empty() ? "" : ", ") + std::to_string(seconds);
  }
  if (rank == 0)
    std::printf("{\"row\": \"%s\", \"bytes\": %d, \"samples\": [%s]}\n", what.c_str(), bytes,
                samples.c_str());
  MPI_Finalize();
  return 0;
}
