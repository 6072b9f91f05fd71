# SPDX-License-Identifier: Apache-2.0
"""Two versions: ours, and the version of Ray whose interface this is (libraries read and compare it)."""

__version__ = "0.1.0"
RAY_VERSION = "2.60.0"
RAY_COMMIT = "ray-mpi-" + __version__
