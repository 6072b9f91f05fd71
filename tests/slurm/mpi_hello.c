/* SPDX-License-Identifier: Apache-2.0
 * Passes a token once around the ring of ranks; the last rank says how many it met. */
#include <mpi.h>
#include <stdio.h>

int main(int argc, char** argv) {
  int rank, size, met = 0;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  if (rank > 0) MPI_Recv(&met, 1, MPI_INT, rank - 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  met += 1;
  if (rank + 1 < size) MPI_Send(&met, 1, MPI_INT, rank + 1, 0, MPI_COMM_WORLD);
  if (rank + 1 == size) printf("met %d of %d\n", met, size);
  MPI_Finalize();
  return 0;
}
