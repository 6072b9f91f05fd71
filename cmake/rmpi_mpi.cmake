# SPDX-License-Identifier: Apache-2.0
# Which MPI was found, and what that means:
#   RAY_MPI_MPI                open-mpi-4 | open-mpi-5 | mpich; empty: none
#   RAY_MPI_MPI_TEXT           "Open MPI 4.1.4", for people
#   RAY_MPI_DEFAULT_TRANSPORT  what carries control frames after bring-up. Only Open MPI 4's ob1 can be slept on and
#                              survives the death of a rank; with any other MPI our own sockets take over
#   RAY_MPI_MPIRUN_FLAGS       for tests: ranks share CPUs, may be root's, and outlive each other
# An MPI that ray-mpi cannot run on is refused here, and not at the first launch.
set(RAY_MPI_MPI "")
set(RAY_MPI_MPI_TEXT "none")
set(RAY_MPI_DEFAULT_TRANSPORT direct)
set(RAY_MPI_MPIRUN_FLAGS "")
if(NOT MPI_CXX_FOUND)
  return()
endif()

set(rmpi_without "To build without MPI, for one node only: -DRAY_MPI_BUILD_MPI=OFF.")
set(rmpi_probe ${CMAKE_BINARY_DIR}/CMakeFiles/rmpi_mpi.cc)
file(WRITE ${rmpi_probe} "#include <mpi.h>
standard:MPI_VERSION:
open_mpi:OMPI_MAJOR_VERSION.OMPI_MINOR_VERSION.OMPI_RELEASE_VERSION:
mpich:MPICH_VERSION:
")
set(rmpi_includes ${MPI_CXX_INCLUDE_DIRS})
list(TRANSFORM rmpi_includes PREPEND -I)
execute_process(COMMAND ${CMAKE_CXX_COMPILER} -DOMPI_SKIP_MPICXX -DMPICH_SKIP_MPICXX ${rmpi_includes} -E -P ${rmpi_probe}
                OUTPUT_VARIABLE rmpi_answer ERROR_VARIABLE rmpi_error RESULT_VARIABLE rmpi_result)
if(NOT rmpi_result EQUAL 0)
  message(FATAL_ERROR "The mpi.h of ${MPI_CXX_INCLUDE_DIRS} cannot be read:\n${rmpi_error}${rmpi_without}")
endif()
string(REPLACE " " "" rmpi_answer "${rmpi_answer}")

if(rmpi_answer MATCHES "standard:([0-9]+):" AND CMAKE_MATCH_1 LESS 3)
  message(FATAL_ERROR "ray-mpi needs MPI 3.0 or newer; ${MPI_CXX_INCLUDE_DIRS} has an MPI ${CMAKE_MATCH_1}. ${rmpi_without}")
elseif(rmpi_answer MATCHES "open_mpi:(([0-9]+)\\.[0-9]+\\.[0-9]+):")
  set(RAY_MPI_MPI_TEXT "Open MPI ${CMAKE_MATCH_1}")
  if(CMAKE_MATCH_2 LESS 4)
    message(FATAL_ERROR "ray-mpi needs Open MPI 4 or newer: ${RAY_MPI_MPI_TEXT} cannot be told to outlive the death of a "
                        "rank. ${rmpi_without}")
  elseif(CMAKE_MATCH_2 EQUAL 4)
    set(RAY_MPI_MPI open-mpi-4)
    set(RAY_MPI_DEFAULT_TRANSPORT mpi)
    set(RAY_MPI_MPIRUN_FLAGS --allow-run-as-root --oversubscribe --bind-to none --mca orte_enable_recovery 1)
  else()
    set(RAY_MPI_MPI open-mpi-5)
    set(RAY_MPI_MPIRUN_FLAGS --with-ft ulfm --allow-run-as-root --oversubscribe --bind-to none)
  endif()
elseif(rmpi_answer MATCHES "mpich:\"([^\"]+)\":")
  # Its descendants (Cray, Intel, MVAPICH) say the same name.
  set(RAY_MPI_MPI mpich)
  set(RAY_MPI_MPI_TEXT "MPICH ${CMAKE_MATCH_1}")
  set(RAY_MPI_MPIRUN_FLAGS -disable-auto-cleanup)
else()
  message(FATAL_ERROR "The MPI in ${MPI_CXX_INCLUDE_DIRS} is neither Open MPI nor MPICH or a descendant of it: ray-mpi "
                      "does not know how its mpirun is told to outlive the death of a rank. ${rmpi_without}")
endif()
message(STATUS "MPI: ${RAY_MPI_MPI_TEXT}, control frames by ${RAY_MPI_DEFAULT_TRANSPORT}")
