"""Judges a ground truth over a gallery in its file with faiss, to compare
`cargo bench -p recall-eval --bench million -- --files=FOLDER` with.

    million.py FOLDER [--way range|search|products] [--threads N] [--repeat N]

FOLDER holds gallery.npy (f16), queries.npy and truth.json as the benchmark leaves them there.

- range: the rows go to an IndexFlatIP, and a range search gives each query all items that are at least as similar as its last
  positive, in all set-ups: exact ranks of all positives, as the benchmark counts them.
- search: the rows go to an IndexFlatIP, which is searched for the 1,000 nearest of each query: what is usually done. Positives
  behind them count as not found, so the figures are another metric.
- products: NumPy reads the file and multiplies it with the queries, no more: what no program avoids.

Rows are brought to unit length first, but for the products. Prints seconds, of the clock and of the processor, the peak of
memory, and the mean average precision (trapezoid) of each set-up.
"""

import argparse
import json
import os
import resource
import time
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder", type=Path)
parser.add_argument("--way", choices=["range", "search", "products"], default="range")
parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
parser.add_argument("--repeat", type=int, default=3)
args = parser.parse_args()
# Read when the libraries are loaded.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = str(args.threads)

import faiss  # noqa: E402
import numpy as np  # noqa: E402

ROWS = 16384


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def chunks(gallery):
    for start in range(0, len(gallery), ROWS):
        yield start, gallery[start : start + ROWS].astype(np.float32)


def setups(truth):
    """Positives and junk of each set-up, as revisited Oxford defines them."""
    easy, hard, junk = truth["easy"], truth["hard"], truth["junk"]
    return {
        "easy": (easy, junk + hard),
        "medium": (easy + hard, junk),
        "hard": (hard, junk + easy),
    }


def index_of(gallery):
    index = faiss.IndexFlatIP(gallery.shape[1])
    for _, rows in chunks(gallery):
        index.add(unit(rows))
    return index


def precision(ranking, positives, junk):
    """Average precision by trapezoids of the positives that a ranking holds."""
    ranking = ranking[~np.isin(ranking, junk)]
    ranks = np.flatnonzero(np.isin(ranking, positives))
    found = np.arange(len(ranks))
    before = np.where(ranks == 0, 1.0, found / np.maximum(ranks, 1))
    return ((before + (found + 1) / (ranks + 1)) / 2).sum() / max(len(positives), 1)


def judge(rankings, truths):
    means = {}
    for name in ("easy", "medium", "hard"):
        lists = [setups(truth)[name] for truth in truths]
        values = [precision(r, *sides) for r, sides in zip(rankings, lists) if sides[0]]
        means[name] = round(float(np.mean(values)), 4)
    return means


def by_range(gallery, queries, truths):
    index = index_of(gallery)
    rankings = []
    for query, truth in zip(queries, truths):
        positives = np.array(truth["easy"] + truth["hard"], dtype=np.int64)
        if not len(positives):
            rankings.append(positives)
            continue
        rows = np.stack([index.reconstruct(int(item)) for item in positives])
        # A range search leaves out what equals its radius, and may sum in another order.
        floor = float((rows @ query).min()) - 1e-6
        _, similarities, items = index.range_search(query[None], floor)
        # By descending similarity, then by id.
        rankings.append(items[np.lexsort((items, -similarities))])
    return judge(rankings, truths)


def by_search(gallery, queries, truths):
    _, items = index_of(gallery).search(queries, min(1000, len(gallery)))
    return judge(items, truths)


def products(gallery, queries, truths):
    for _, rows in chunks(gallery):
        queries @ rows.T
    return None


def main():
    faiss.omp_set_num_threads(args.threads)
    queries = unit(np.load(args.folder / "queries.npy").astype(np.float32))
    truths = json.loads((args.folder / "truth.json").read_text())
    way = {"range": by_range, "search": by_search, "products": products}[args.way]
    for _ in range(args.repeat):
        start, worked = time.perf_counter(), time.process_time()
        gallery = np.load(args.folder / "gallery.npy", mmap_mode="r")
        found = way(gallery, queries, truths)
        line = {
            "way": args.way,
            "threads": args.threads,
            "seconds": round(time.perf_counter() - start, 2),
            "processor": round(time.process_time() - worked, 2),
            # Pages of the file that are mapped count, too.
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
            "map_trapezoid": found,
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
