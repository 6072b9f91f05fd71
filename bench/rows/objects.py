# SPDX-License-Identifier: Apache-2.0
"""put and get, of small values and of large arrays into a warm store."""

import numpy as np
import ray
from measure import main, row

STORE_BYTES = 3_000_000_000


@row("single_client_put_calls", "puts/s")
def put_calls():
    return lambda: ray.put(0), 1


@row("single_client_get_calls", "gets/s")
def get_calls():
    ref = ray.put(0)
    return lambda: ray.get(ref), 1


@ray.remote
def put_many():
    for _ in range(100):
        ray.put(0)


@row("multi_client_put_calls", "puts/s")
def multi_client_put_calls():
    return lambda: ray.get([put_many.remote() for _ in range(10)]), 1000


def put_array(number_of_bytes):
    array = np.ones(number_of_bytes // 8)
    for _ in range(3):  # warm both the source's pages and the store's
        ray.put(array)
    return lambda: ray.put(array), number_of_bytes / 1e9


@row("single_client_put_gigabytes_100MB", "GB/s")
def put_100_megabytes():
    return put_array(100_000_000)


@row("single_client_put_gigabytes_800MB", "GB/s")
def put_800_megabytes():
    return put_array(800_000_000)


@row("get_100MB_array", "gets/s")
def get_array():
    ref = ray.put(np.ones(12_500_000))
    return lambda: ray.get(ref), 1


if __name__ == "__main__":
    main(object_store_memory=STORE_BYTES)
