# SPDX-License-Identifier: Apache-2.0
"""Items of generators: how fast they come, and how long one takes from the yield to the reader and back."""

import ray
from measure import main, row

ITEMS = 1000


@ray.remote
def numbers(n):
    yield from range(n)


@ray.remote
class Source:
    def numbers(self, n):
        yield from range(n)


def read(generator):
    for ref in generator:
        ray.get(ref)


@row("generator_items", "items/s")
def items():
    return lambda: read(numbers.remote(ITEMS)), ITEMS


@row("generator_items_of_an_actor", "items/s")
def items_of_an_actor():
    source = Source.remote()
    return lambda: read(source.numbers.remote(ITEMS)), ITEMS


# With one unread item at most, each needs a word from the reader: a round trip.
@row("generator_items_round_trip", "items/s")
def round_trips():
    each = numbers.options(_generator_backpressure_num_objects=1)
    return lambda: read(each.remote(200)), 200


if __name__ == "__main__":
    main()
