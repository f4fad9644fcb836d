"""Exact evaluation with faiss and numpy, to compare `cargo xtask bench eval` with.

    eval.py EMBEDDINGS.npy LABELS.npy [--threads N] [--k N]

Every row searches all others with IndexFlatIP; k holds the row itself too. From the nearest k come
recall@1, @10, @100, @1000, r-precision and map@r (exact as long as classes have at most k items).
Prints one line of JSON with the seconds of the search and of the metrics, and the values.
"""

import argparse
import json
import resource
import time

import faiss
import numpy as np


def metrics(nearest, labels):
    """From the ids of the nearest, the rows themselves among them."""
    rows = np.arange(len(labels))
    counts = np.unique(labels, return_inverse=True, return_counts=True)
    positives = counts[2][counts[1]] - 1
    values = {f"recall@{k}": 0.0 for k in (1, 10, 100, 1000)}
    values |= {"r_precision": 0.0, "map@r": 0.0}
    judged = 0
    for first in range(0, len(labels), 1000):
        block = rows[first : first + 1000]
        ids = nearest[block]
        is_self = ids == block[:, None]
        # One more is cut off where the row itself was not found.
        is_self[~is_self.any(1), -1] = True
        hits = (labels[ids] == labels[block][:, None])[~is_self].reshape(len(block), -1)
        counts = positives[block]
        hits, counts = hits[counts > 0], counts[counts > 0]
        judged += len(counts)
        for k in (1, 10, 100, 1000):
            values[f"recall@{k}"] += hits[:, :k].any(1).sum()
        within = np.arange(hits.shape[1])[None, :] < counts[:, None]
        hits = hits & within
        values["r_precision"] += (hits.sum(1) / counts).sum()
        precision = np.cumsum(hits, 1) / np.arange(1, hits.shape[1] + 1)[None, :]
        values["map@r"] += ((precision * hits).sum(1) / counts).sum()
    return {name: float(value / judged) for name, value in values.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("embeddings")
    parser.add_argument("labels")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--k", type=int, default=1001)
    args = parser.parse_args()
    faiss.omp_set_num_threads(args.threads)
    embeddings = np.load(args.embeddings)
    labels = np.load(args.labels)

    start = time.perf_counter()
    index = faiss.IndexFlatIP(embeddings.shape[1])
    index.add(embeddings)
    _, nearest = index.search(embeddings, min(args.k, len(labels)))
    search = time.perf_counter() - start
    start = time.perf_counter()
    values = metrics(nearest, labels)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    measured = {"search_seconds": search, "metric_seconds": seconds, "peak_bytes": peak}
    print(json.dumps(measured | {"values": values}))


if __name__ == "__main__":
    main()
