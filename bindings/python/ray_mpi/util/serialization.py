# SPDX-License-Identifier: Apache-2.0
"""Serializers of the user's own for single classes."""

from ray_mpi._serialization import deregister_serializer, register_serializer

__all__ = ["deregister_serializer", "register_serializer"]
