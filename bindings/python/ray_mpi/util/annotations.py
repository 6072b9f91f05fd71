# SPDX-License-Identifier: Apache-2.0
"""Marks on public interfaces, as decorators that change nothing."""


def PublicAPI(*args, **kwargs):  # noqa: N802  (Ray's name)
    """@PublicAPI or @PublicAPI(stability="beta")."""
    if len(args) == 1 and not kwargs and callable(args[0]):
        return args[0]
    return lambda target: target


DeveloperAPI = PublicAPI
Deprecated = PublicAPI
RayDeprecationWarning = DeprecationWarning
