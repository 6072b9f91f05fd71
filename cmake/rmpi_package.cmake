# SPDX-License-Identifier: Apache-2.0
# What is installed, and where. The same parts exist in two shapes:
#   wheel and build tree    ray_mpi/*.py _core*.so _ray_path/   and below ray_mpi/: bin/ lib/ include/ lib/cmake/ray-mpi/
#   cmake --install         <prefix>/bin lib include lib/cmake/ray-mpi share/ray-mpi, and the Python package in
#                           <prefix>/RAY_MPI_PYTHON_DIR, with bin as a link
# launcher/paths.h finds the parts in either. Target `package` builds exactly what is in them. The component `python` is
# the wheel's; `cmake --install` without a component leaves it out.
set(RAY_MPI_PYTHON_DIR "lib/python${Python_VERSION_MAJOR}.${Python_VERSION_MINOR}/site-packages" CACHE STRING
    "Where cmake --install puts the Python package, relative to the prefix")
add_custom_target(package)
set(package_dir ${CMAKE_BINARY_DIR}/python/ray_mpi)

# rmpi_install_binary(target bin|lib): a program, a shared library or a plugin, if it is built.
function(rmpi_install_binary target folder)
  if(NOT TARGET ${target})
    return()
  endif()
  if(folder STREQUAL "bin")
    set(kind RUNTIME)
  else()
    set(kind LIBRARY)
  endif()
  set_target_properties(${target} PROPERTIES ${kind}_OUTPUT_DIRECTORY ${package_dir}/${folder})
  install(TARGETS ${target} ${kind} DESTINATION ray_mpi/${folder} COMPONENT python EXCLUDE_FROM_ALL)
  install(TARGETS ${target} ${kind} DESTINATION ${folder} COMPONENT runtime)
  add_dependencies(package ${target})
endfunction()

rmpi_install_binary(ray-mpi bin)
rmpi_install_binary(ray-mpi-mpi lib)
rmpi_install_binary(ray-mpi-ucx lib)
rmpi_install_binary(ray-mpi-hdf5 lib)
rmpi_install_binary(ray lib)
rmpi_install_binary(ray-mpi-cpp-worker bin)
if(SKBUILD)
  # The same program once more as a command of the environment, beside its interpreter.
  install(TARGETS ray-mpi RUNTIME DESTINATION ${SKBUILD_SCRIPTS_DIR} COMPONENT python EXCLUDE_FROM_ALL)
endif()

# ---- for C++ users: headers and find_package(ray-mpi) -------------------------------------------------------
if(TARGET ray)
  file(READ ${PROJECT_SOURCE_DIR}/bindings/cpp/include/ray/api/abi.h text)
  if(NOT text MATCHES "constexpr uint32_t kVersion = ([0-9]+)")
    message(FATAL_ERROR "bindings/cpp/include/ray/api/abi.h does not say its kVersion")
  endif()
  set(RAY_MPI_ABI ${CMAKE_MATCH_1})
  include(CMakePackageConfigHelpers)
  set(config ${package_dir}/lib/cmake/ray-mpi)
  configure_file(cmake/ray-mpi-config.cmake.in ${config}/ray-mpi-config.cmake @ONLY)
  write_basic_package_version_file(${config}/ray-mpi-config-version.cmake COMPATIBILITY SameMinorVersion)
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/bindings/cpp/include ${package_dir}/include SYMBOLIC)
  foreach(layout "ray_mpi/;python;EXCLUDE_FROM_ALL" ";development;")
    list(POP_FRONT layout to component exclude)
    install(DIRECTORY bindings/cpp/include/ray DESTINATION ${to}include COMPONENT ${component} ${exclude}
            FILES_MATCHING PATTERN "*.h")
    install(FILES ${config}/ray-mpi-config.cmake ${config}/ray-mpi-config-version.cmake
            DESTINATION ${to}lib/cmake/ray-mpi COMPONENT ${component} ${exclude})
  endforeach()
endif()

# ---- the Python package -------------------------------------------------------------------------------------
function(rmpi_install_python to)
  install(TARGETS _core LIBRARY DESTINATION ${to} ${ARGN})
  install(DIRECTORY bindings/python/ray_mpi/ DESTINATION ${to} ${ARGN} FILES_MATCHING PATTERN "*.py" PATTERN "py.typed"
          PATTERN "__pycache__" EXCLUDE)
  install(DIRECTORY bindings/python/ray_path/ DESTINATION ${to}/_ray_path ${ARGN} FILES_MATCHING PATTERN "*.py"
          PATTERN "__pycache__" EXCLUDE)
endfunction()

if(TARGET _core)
  add_dependencies(package _core)
  rmpi_install_python(ray_mpi COMPONENT python EXCLUDE_FROM_ALL)
  rmpi_install_python(${RAY_MPI_PYTHON_DIR}/ray_mpi COMPONENT runtime)
  file(RELATIVE_PATH up /${RAY_MPI_PYTHON_DIR}/ray_mpi /bin)
  install(CODE "set(link \"\${CMAKE_INSTALL_PREFIX}/${RAY_MPI_PYTHON_DIR}/ray_mpi/bin\")
file(CREATE_LINK ${up} \"\$ENV{DESTDIR}\${link}\" SYMBOLIC)
list(APPEND CMAKE_INSTALL_MANIFEST_FILES \"\${link}\")" COMPONENT runtime)
endif()

# ---- modulefiles, which know the prefix they were installed to -----------------------------------------------
foreach(file "modulefile.lua;${PROJECT_VERSION}.lua" "modulefile.tcl;${PROJECT_VERSION}")
  list(POP_FRONT file from to)
  install(CODE "set(RAY_MPI_VERSION ${PROJECT_VERSION})
set(RAY_MPI_MPI_TEXT \"${RAY_MPI_MPI_TEXT}\")
set(RAY_MPI_PYTHON_DIR \"${RAY_MPI_PYTHON_DIR}\")
set(file \"\${CMAKE_INSTALL_PREFIX}/share/ray-mpi/modulefiles/ray-mpi/${to}\")
configure_file(\"${PROJECT_SOURCE_DIR}/launcher/packaging/${from}.in\" \"\$ENV{DESTDIR}\${file}\" @ONLY)
list(APPEND CMAKE_INSTALL_MANIFEST_FILES \"\${file}\")" COMPONENT runtime)
endforeach()
