# SPDX-License-Identifier: Apache-2.0
# Everything from outside, found once. Targets to link with:
#   MPI::MPI_CXX  PkgConfig::UCX  PkgConfig::HWLOC  PkgConfig::XXHASH  PkgConfig::HDF5 (C)  Boost::program_options
#   fmt::fmt  spdlog::spdlog  nlohmann_json::nlohmann_json  msgpackc-cxx  GTest::gmock  benchmark::benchmark
#   Threads::Threads  Python::Module (with RAY_MPI_BUILD_PYTHON)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

# MPI, UCX and HDF5 are used by plugins only, so that a machine without them still builds the one-node runtime.
if(RAY_MPI_BUILD_MPI)
  find_package(MPI COMPONENTS C CXX)
endif()
if(RAY_MPI_BUILD_UCX)
  pkg_check_modules(UCX IMPORTED_TARGET ucx)
endif()
if(RAY_MPI_BUILD_HDF5)
  pkg_check_modules(HDF5 IMPORTED_TARGET hdf5)
  if(NOT HDF5_FOUND)
    find_package(HDF5 COMPONENTS C)  # of those who build HDF5 without a .pc file
    if(TARGET hdf5::hdf5)
      add_library(rmpi_hdf5 INTERFACE)
      target_link_libraries(rmpi_hdf5 INTERFACE hdf5::hdf5)
      add_library(PkgConfig::HDF5 ALIAS rmpi_hdf5)
    else()
      set(HDF5_FOUND FALSE)
    endif()
  endif()
endif()
foreach(part "MPI;MPI_CXX_FOUND;no launch over several ranks" "UCX;UCX_FOUND;no transfers of objects between ranks"
        "HDF5;HDF5_FOUND;no spilling of objects to disk")
  list(POP_FRONT part name found without)
  if(NOT RAY_MPI_BUILD_${name})
    message(STATUS "${name}: left out, as RAY_MPI_BUILD_${name}=OFF says: ${without}")
  elseif(NOT ${found})
    message(WARNING "${name} was not found: ${without}. Load the site's module or install the packages of "
                    "launcher/packages.txt to have it; -DRAY_MPI_BUILD_${name}=OFF says that it is meant.")
  endif()
endforeach()
if(UCX_FOUND AND UCX_VERSION VERSION_LESS 1.12)
  message(FATAL_ERROR "ray-mpi needs UCX 1.12 or newer: UCX ${UCX_VERSION} in ${UCX_PREFIX} has no rendezvous on connections "
                      "that survive the death of their peer. To build without UCX: -DRAY_MPI_BUILD_UCX=OFF.")
endif()
include(rmpi_mpi)

pkg_check_modules(HWLOC REQUIRED IMPORTED_TARGET hwloc)
if(HWLOC_VERSION VERSION_LESS 2)
  message(FATAL_ERROR "ray-mpi needs hwloc 2.0 or newer: hwloc ${HWLOC_VERSION} in ${HWLOC_PREFIX} has another way to say "
                      "which memory is near which cores.")
endif()
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
find_package(Boost REQUIRED COMPONENTS program_options)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(msgpack QUIET)
if(NOT TARGET msgpackc-cxx)
  find_package(msgpack-cxx REQUIRED)  # its name from version 6 on
  add_library(msgpackc-cxx INTERFACE)
  target_link_libraries(msgpackc-cxx INTERFACE msgpack-cxx)
endif()

if(RAY_MPI_BUILD_TESTS)
  find_package(GTest)
  if(NOT GTest_FOUND)
    message(STATUS "GoogleTest is not installed: the C++ tests are left out")
    set(RAY_MPI_BUILD_TESTS OFF)
  endif()
endif()
if(RAY_MPI_BUILD_BENCH)
  find_package(benchmark)
  if(NOT benchmark_FOUND)
    message(STATUS "Google Benchmark is not installed: the benchmarks are left out")
    set(RAY_MPI_BUILD_BENCH OFF)
  endif()
endif()
if(RAY_MPI_BUILD_PYTHON)
  set(Python_FIND_VIRTUALENV FIRST)
  find_package(Python 3.9 REQUIRED COMPONENTS Interpreter Development.Module)
  if(NOT nanobind_DIR OR NOT EXISTS ${nanobind_DIR})
    # scikit-build-core puts it on the prefix path; in a plain CMake build the interpreter knows where it is.
    execute_process(
      COMMAND ${Python_EXECUTABLE} -m nanobind --cmake_dir
      OUTPUT_VARIABLE nanobind_dir OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE result)
    if(result EQUAL 0)
      set(nanobind_DIR ${nanobind_dir} CACHE PATH "nanobind's CMake files" FORCE)
    endif()
  endif()
  find_package(nanobind CONFIG)
  if(NOT nanobind_FOUND)
    message(WARNING "nanobind is not installed for ${Python_EXECUTABLE}: the Python extension is left out. "
                    "`pip install nanobind`, or pass -DPython_EXECUTABLE=<venv>/bin/python.")
    set(RAY_MPI_BUILD_PYTHON OFF)
  elseif(nanobind_VERSION VERSION_LESS 2.2)
    message(FATAL_ERROR "ray-mpi needs nanobind 2.2 or newer; ${nanobind_DIR} has ${nanobind_VERSION}. "
                        "`${Python_EXECUTABLE} -m pip install -U nanobind`.")
  endif()
endif()
