# SPDX-License-Identifier: Apache-2.0
# Refuses machines and compilers that ray-mpi cannot be built with, before the first error of a compiler.
if(NOT CMAKE_SYSTEM_NAME STREQUAL "Linux")
  message(FATAL_ERROR "ray-mpi runs on Linux only (memfd, futex, epoll, pidfd); this is ${CMAKE_SYSTEM_NAME}.")
endif()
if(NOT CMAKE_SIZEOF_VOID_P EQUAL 8 OR CMAKE_CXX_BYTE_ORDER STREQUAL "BIG_ENDIAN")
  message(FATAL_ERROR "ray-mpi needs a 64-bit little-endian machine: nodes exchange integers as they lie in memory.")
endif()

# What we use of C++20 and the kernel's headers, not a list of versions: clang comes with libraries of any age.
include(CheckCXXSourceCompiles)
set(CMAKE_REQUIRED_QUIET ON)
check_cxx_source_compiles("
#include <bit>
#include <compare>
#include <span>
#include <fcntl.h>
#include <sys/syscall.h>
struct Point {
  int x = 0, y = 0;
  auto operator<=>(const Point&) const = default;
};
template <typename T>
  requires(sizeof(T) > 1)
int Width(std::span<const T> values) { return std::bit_width(values.size()) + SYS_pidfd_open + F_SEAL_SHRINK; }
int main() { return Width(std::span<const Point>()) + (Point{.x = 1} <=> Point{.y = 1} > 0); }
" RAY_MPI_HAVE_CXX20)
unset(CMAKE_REQUIRED_QUIET)
if(NOT RAY_MPI_HAVE_CXX20)
  message(FATAL_ERROR "${CMAKE_CXX_COMPILER} (${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}) cannot compile what "
                      "ray-mpi uses of C++20 and of Linux 5.3's headers. gcc 11 and clang 14 can: load a newer compiler's "
                      "module, delete the build folder, and pass -DCMAKE_CXX_COMPILER=... or set CXX. What the compiler "
                      "said is at the end of ${CMAKE_BINARY_DIR}/CMakeFiles/CMakeError.log or CMakeConfigureLog.yaml.")
endif()
