# SPDX-License-Identifier: Apache-2.0
# The Python package as launcher/paths.h expects it, complete in the build tree (PYTHONPATH=<build>/python) and in
# the wheel:
#   ray_mpi/*.py  ray_mpi/_core*.so  ray_mpi/_ray_path/    by bindings/python
#   ray_mpi/bin/ray-mpi  ray_mpi/lib/libray-mpi-*.so       here
# Target `package` builds exactly what is in it.
add_custom_target(package)
set(package_dir ${CMAKE_BINARY_DIR}/python/ray_mpi)

foreach(plugin ray-mpi-mpi ray-mpi-ucx)
  if(TARGET ${plugin})
    set_target_properties(${plugin} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${package_dir}/lib)
    install(TARGETS ${plugin} LIBRARY DESTINATION ray_mpi/lib COMPONENT python)
    add_dependencies(package ${plugin})
  endif()
endforeach()

if(TARGET ray-mpi)
  set_target_properties(ray-mpi PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${package_dir}/bin)
  install(TARGETS ray-mpi RUNTIME DESTINATION ray_mpi/bin COMPONENT python)
  if(SKBUILD)
    # The same program once more as a command of the environment, beside its interpreter.
    install(PROGRAMS $<TARGET_FILE:ray-mpi> DESTINATION ${SKBUILD_SCRIPTS_DIR} COMPONENT python)
  endif()
  add_dependencies(package ray-mpi)
endif()

if(TARGET _core)
  add_dependencies(package _core)
endif()
