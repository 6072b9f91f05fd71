# SPDX-License-Identifier: Apache-2.0
"""Calls between languages: not there yet."""

from ray_mpi._remote import cpp_function, java_actor_class, java_function

__all__ = ["cpp_function", "java_actor_class", "java_function"]
