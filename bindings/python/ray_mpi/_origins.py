# SPDX-License-Identifier: Apache-2.0
"""Where refs are made, written down if RAY_record_ref_creation_sites=1 (Ray's name of it) when the program starts."""

import os
import sys

from ray_mpi._session import PACKAGE

_MOST_FRAMES = 8
_OURS = PACKAGE + os.sep


def here(what):
    """`(what)  | file:function:line | ..`: the frames of the program itself, innermost first, as Ray writes them."""
    found = [f"({what}) "]
    frame = sys._getframe()
    while frame is not None and len(found) <= _MOST_FRAMES:
        code = frame.f_code
        if not code.co_filename.startswith(_OURS):
            found.append(f"{code.co_filename}:{code.co_name}:{frame.f_lineno}")
        frame = frame.f_back
    return " | ".join(found).encode("utf-8", "backslashreplace").decode()  # a path may be no text
