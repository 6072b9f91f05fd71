# SPDX-License-Identifier: Apache-2.0
"""ray._private.services: this node's address."""

from ray_mpi.util import get_node_ip_address

__all__ = ["get_node_ip_address"]
