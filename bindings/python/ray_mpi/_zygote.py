# SPDX-License-Identifier: Apache-2.0
"""The zygote: a warm interpreter with one thread that forks workers for the raylet.

Only what is listed here is imported before a fork; never numpy, torch or user code: they start threads (which
do not survive a fork) and freeze OMP_NUM_THREADS and CUDA_VISIBLE_DEVICES. Requests and replies are the
structs of runtime/raylet/keeper_link.h over a SOCK_SEQPACKET pair; each request carries the worker's stdout and
stderr.
"""

import argparse

# Warm for every worker.
import ast  # noqa: F401
import ctypes
import gc
import inspect  # noqa: F401
import os
import pickle  # noqa: F401
import random  # noqa: F401
import signal
import socket
import struct
import sys
import traceback  # noqa: F401
import typing  # noqa: F401

import cloudpickle  # noqa: F401

import ray_mpi  # noqa: F401
from ray_mpi import _core, _worker_main

_REQUEST = struct.Struct("=QII")  # token, job, reserved
_REPLY = struct.Struct("=Qii")  # token, pid, reserved
_PR_SET_PDEATHSIG = 1


def _single_threaded():
    return len(os.listdir("/proc/self/task")) == 1


def _serve(link, keeper):
    """Answer requests until the raylet's end closes. Returns a token in a new worker, None at the end."""
    while True:
        data, fds, _, _ = socket.recv_fds(link, 512, 8)
        if not data:
            return None
        token, _, _ = _REQUEST.unpack(data[: _REQUEST.size])
        if len(fds) < 2:
            pid = -22  # EINVAL: a request comes with two descriptors
        elif not _single_threaded():
            pid = -11  # EAGAIN: a fork now would leave locks taken for ever in the child
            sys.stderr.write("ray-mpi zygote: an import started a thread; it cannot fork workers any more\n")
        else:
            pid = _core.fork_worker(fds[0], fds[1], keeper)
            if pid == 0:
                return token
        for fd in fds:
            os.close(fd)
        link.send(_REPLY.pack(token, pid, 0))


def main():
    parser = argparse.ArgumentParser(prog="ray_mpi._zygote")
    parser.add_argument("--fd", type=int, required=True, help="our end of the pair with the raylet")
    arguments = parser.parse_args()
    keeper = int(os.environ["RAY_MPI_KEEPER_PID"])
    # With the keeper, however it dies (it may have died while we started).
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != keeper:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's; workers take their own handler
    # scancel and a time limit send it to every process of a step at once. It is for the program; we end with our link.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    link = socket.socket(fileno=arguments.fd)
    gc.collect()
    gc.freeze()  # the pages of what is loaded stay shared: no collection touches them in a worker
    token = _serve(link, keeper)
    link.close()
    if token is None:
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _worker_main.main(token)


if __name__ == "__main__":
    main()
