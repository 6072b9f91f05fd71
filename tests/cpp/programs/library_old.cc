// SPDX-License-Identifier: Apache-2.0
// What RAY_REMOTE does in a library that was compiled with the headers of another version.
extern "C" const void* ray_mpi_cpp_interface(unsigned version, const char* headers_version);
const void* library_old_interface = ray_mpi_cpp_interface(999, "0.0.9");
