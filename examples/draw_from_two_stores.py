"""Draw the same sample from two served stores and check that the tensors are equal.

    pip install '.[client]'   # from a clone
    python examples/draw_from_two_stores.py http://127.0.0.1:8000 directory bucket

compose.yaml runs it as its client: one store lies in a directory, the other in a bucket, and this program has
neither the data nor the credentials. It exits with 1 if a tensor differs or a store cannot be read.
"""

from __future__ import annotations

import argparse
import sys

import drawpoint
from drawpoint.errors import DrawpointError

POINTS = 4096
SEED = 0


def main(url: str, first: str, second: str) -> int:
    """Draw from both stores, print what came; returns the exit status."""
    with drawpoint.connect(url) as connection:
        readers = [connection.store(store_id) for store_id in (first, second)]
        sample_id, entry = next(iter(readers[0].manifest.samples.items()))
        counts = {domain: min(POINTS, grid.n_points) for domain, grid in entry.domains.items()}
        drawn, other = (reader.read_sample(sample_id, counts, seed=SEED) for reader in readers)
    for field, tensor in drawn.items():
        same = "equal" if tensor.equal(other[field]) else "DIFFERS"
        print(f"{field:<20} {tuple(tensor.shape)!s:<12} mean {float(tensor.mean()):>10.4g}  {same}")
    return 0 if all(tensor.equal(other[field]) for field, tensor in drawn.items()) else 1


def parse() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url", help="the address of a running service, such as http://127.0.0.1:8000")
    parser.add_argument("first", help="the id of one of its stores")
    parser.add_argument("second", help="the id of another one with the same samples")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main(**vars(parse())))
    except DrawpointError as error:
        sys.exit(str(error))
