// SPDX-License-Identifier: Apache-2.0
// ray-mpi-cpp-worker PATH...: a worker whose functions are in the libraries of a code search path.
extern "C" int ray_mpi_cpp_worker_main(int argc, char** argv);

int main(int argc, char** argv) { return ray_mpi_cpp_worker_main(argc, argv); }
