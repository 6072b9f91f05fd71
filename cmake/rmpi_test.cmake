# SPDX-License-Identifier: Apache-2.0
# rmpi_test(name SOURCES a.cc.. LIBS lib.. [LABELS unit|sim|mpi|slurm..] [TIMEOUT s] [RANKS n] [NO_MAIN])
# One GoogleTest executable and one ctest entry. RANKS n runs it as n ranks under mpirun; NO_MAIN when the
# sources have a main() of their own. Labels default to "unit", the time limit to 60 s.
function(rmpi_test name)
  cmake_parse_arguments(ARG "NO_MAIN" "TIMEOUT;RANKS" "SOURCES;LIBS;LABELS" ${ARGN})
  if(ARG_UNPARSED_ARGUMENTS OR NOT ARG_SOURCES)
    message(FATAL_ERROR "rmpi_test(${name}): SOURCES missing, or not understood: ${ARG_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 60)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} GTest::gmock Threads::Threads)
  if(NOT ARG_NO_MAIN)
    target_link_libraries(${name} PRIVATE GTest::gtest_main)
  endif()
  if(ARG_RANKS)
    add_test(NAME ${name}
             COMMAND ${MPIEXEC_EXECUTABLE} -n ${ARG_RANKS} --oversubscribe --bind-to none --allow-run-as-root
                     $<TARGET_FILE:${name}>)
  else()
    add_test(NAME ${name} COMMAND ${name})
  endif()
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT})
endfunction()
