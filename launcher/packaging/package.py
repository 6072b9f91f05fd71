# SPDX-License-Identifier: Apache-2.0
# Spack 1.0 or newer. Copy to packages/ray_mpi/package.py of a repository of yours (`spack repo create`), then, in a
# checkout of ray-mpi:  spack dev-build ray-mpi@main ^openmpi
from spack_repo.builtin.build_systems.cmake import CMakePackage, generator

from spack.package import *


class RayMpi(CMakePackage):
    """Ray's tasks and objects as one batch runtime, launched by srun or mpirun, for Python and C++."""

    license("Apache-2.0")

    version("main", branch="main")  # which repository: `git = ...` here, or dev-build

    variant("python", default=True, description="Install the Python package")
    variant("ucx", default=True, description="Move large objects between ranks with UCX")

    generator("ninja")

    depends_on("c", type="build")
    depends_on("cxx", type="build")
    depends_on("cmake@3.22:", type="build")
    depends_on("pkgconfig", type="build")

    depends_on("mpi@3:")
    depends_on("ucx@1.12:", when="+ucx")
    depends_on("hwloc@2:")
    depends_on("hdf5@1.10:")
    depends_on("boost@1.74: +program_options")
    depends_on("fmt@9:")
    depends_on("spdlog@1.10:")
    depends_on("nlohmann-json@3.11:")
    depends_on("xxhash@0.8:")
    # Its versions 3 have the C++ headers. They do not know std::complex: arguments of that type need a struct.
    depends_on("msgpack-c@3:")

    extends("python", when="+python")
    with when("+python"):
        depends_on("python@3.9:", type=("build", "link", "run"))
        depends_on("py-nanobind@2.2:", type="build")
        depends_on("py-cloudpickle@3:", type="run")

    conflicts("%gcc@:10", msg="ray-mpi is C++20: gcc 11 or newer")
    conflicts("%clang@:13", msg="ray-mpi is C++20: clang 14 or newer")
    conflicts("^openmpi@:3", msg="Open MPI 4 or newer: older ones cannot outlive the death of a rank")

    def cmake_args(self):
        args = [
            self.define("RAY_MPI_BUILD_TESTS", False),
            self.define("RAY_MPI_BUILD_BENCH", False),
            self.define("RAY_MPI_WERROR", False),
            self.define_from_variant("RAY_MPI_BUILD_PYTHON", "python"),
            self.define_from_variant("RAY_MPI_BUILD_UCX", "ucx"),
            self.define("MPI_CXX_COMPILER", self.spec["mpi"].mpicxx),
            self.define("MPI_C_COMPILER", self.spec["mpi"].mpicc),
        ]
        if self.spec.satisfies("+python"):
            args.append(self.define("Python_EXECUTABLE", python.path))
            args.append(self.define("RAY_MPI_PYTHON_DIR", python_platlib.replace(f"{self.prefix}/", "")))
        return args

    def setup_run_environment(self, env):
        env.set("RAY_MPI_ROOT", self.prefix)
        if self.spec.satisfies("+python"):
            env.prepend_path("PYTHONPATH", join_path(python_platlib, "ray_mpi", "_ray_path"))
