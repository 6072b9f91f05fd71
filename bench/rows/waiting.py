# SPDX-License-Identifier: Apache-2.0
"""ray.wait on a shrinking list of a thousand tasks, one result at a time."""

import ray
from measure import main, row


@ray.remote
def noop():
    return b"ok"


def wait_for_each(n):
    waiting = [noop.remote() for _ in range(n)]
    fetch = True  # asking once is enough to have the results brought here
    for _ in range(n):
        _, waiting = ray.wait(waiting, fetch_local=fetch)
        fetch = False


@row("single_client_wait_1k_refs", "rounds/s")
def wait_1k():
    return lambda: wait_for_each(1000), 1


if __name__ == "__main__":
    main()
