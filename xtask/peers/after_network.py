"""Whitening, expansion and re-ranking in NumPy, dense and in float64, as the crate's tests expect them.

    after_network.py crates/recall-eval/tests/reference/after_network.safetensors

Needs numpy and safetensors. Written from the papers and apart from the crate: every matrix is whole, and neighbours are found by
sorting all similarities, equal ones by number.
"""

import sys

import numpy as np
from safetensors.numpy import save_file

rng = np.random.default_rng(20)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def products(a, b):
    # One order of summation for every pair, so that twins tie.
    return np.einsum("id,jd->ij", a, b)


def ranked(similarities):
    return np.argsort(-similarities, axis=1, kind="stable")


def without_self(similarities):
    similarities = similarities.copy()
    np.fill_diagonal(similarities, -np.inf)
    return ranked(similarities)[:, :-1]


def white(rows, mean, projection):
    return unit((rows - mean) @ projection.T)


def pca(rows, dim, power):
    mean = rows.mean(0)
    values, vectors = np.linalg.eigh(np.cov(rows.T, bias=True))
    order = np.argsort(-values)[:dim]
    return mean, (vectors[:, order] * values[order] ** (-power / 2)).T


def supervised(rows, pairs, dim):
    """Radenovic et al.: C_S^(-1/2), then the eigenvectors of C_D seen through it."""
    first, second = rows[pairs[:, 0]], rows[pairs[:, 1]]
    mean = first.mean(0)
    values, vectors = np.linalg.eigh((first - second).T @ (first - second) / len(pairs))
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    values, vectors = np.linalg.eigh(root @ (rows - mean).T @ (rows - mean) @ root)
    return mean, vectors[:, np.argsort(-values)[:dim]].T @ root


def averaged(rows, items, order, similarities, n, alpha):
    out = rows.copy()
    for row, near in enumerate(order[:, :n]):
        out[row] += (np.maximum(similarities[row, near], 0) ** alpha) @ items[near]
    return unit(out)


def k_reciprocal(queries, gallery, k1, k2, weight):
    nodes = np.concatenate([queries, gallery])
    similarities = products(nodes, nodes)
    distances = np.maximum(2 - 2 * similarities, 0)
    distances /= distances.max(1, keepdims=True)
    n = len(nodes)
    order = np.concatenate([np.arange(n)[:, None], without_self(similarities)], 1)

    def mutual(i, k):
        return {j for j in order[i, : k + 1] if i in order[j, : k + 1]}

    features = np.zeros((n, n))
    for i in range(n):
        core = mutual(i, k1)
        members = set(core)
        for j in core:
            near = mutual(j, round(k1 / 2))
            if 3 * len(near & core) > 2 * len(near):
                members |= near
        members = sorted(members)
        features[i, members] = np.exp(-distances[i, members])
        features[i] /= features[i].sum()
    features = np.stack([features[order[i, :k2]].mean(0) for i in range(n)])
    first = len(queries)
    least = np.minimum(features[:first, None], features[None, first:]).sum(2)
    most = np.maximum(features[:first, None], features[None, first:]).sum(2)
    return (1 - weight) * (1 - least / most) + weight * distances[:first, first:]


def diffusion(queries, gallery, k, kq, gamma, alpha, shortlist):
    similarities = products(gallery, gallery)
    near = np.zeros_like(similarities)
    np.put_along_axis(near, without_self(similarities)[:, :k], 1, axis=1)
    weights = np.maximum(similarities, 0) ** gamma * near * near.T
    degrees = weights.sum(1)
    scale = np.where(degrees > 0, 1 / np.sqrt(np.maximum(degrees, 1e-300)), 0)
    graph = weights * scale[:, None] * scale
    to_queries = products(queries, gallery)
    out = np.zeros_like(to_queries)
    for q, order in enumerate(ranked(to_queries)):
        kept = order[:shortlist]
        start = np.zeros(len(kept))
        start[:kq] = np.maximum(to_queries[q, kept[:kq]], 0) ** gamma
        system = np.eye(len(kept)) - alpha * graph[np.ix_(kept, kept)]
        out[q, kept] = np.linalg.solve(system, start)
    return out


def main():
    dim, classes = 6, 14
    centres = rng.standard_normal((classes, dim))
    labels = rng.integers(0, classes, 150)
    rows = centres[labels] + 0.5 * rng.standard_normal((150, dim))
    # Twins, and one with a twin of each kind; three rows that resemble nothing.
    rows[40:50] = rows[:10]
    labels[40:50] = labels[:10]
    rows[50:55] = rows[:5]
    labels[50:55] = labels[:5]
    rows[60:63] = rng.standard_normal((3, dim))
    rows = unit(rows.astype(np.float32).astype(np.float64)).astype(np.float32)
    queries = rows[120:]
    gallery = rows[:120]
    q, g = queries.astype(np.float64), gallery.astype(np.float64)
    pairs = np.array([[a, b] for a in range(120) for b in range(120) if a != b and labels[a] == labels[b]][::2])
    to_gallery, own = products(q, g), products(g, g)
    tensors = {
        "queries": queries,
        "gallery": gallery,
        "pairs": pairs.astype(np.int64),
        "pca": white(q, *pca(g, 4, 1.0)),
        "pca_half": white(q, *pca(g, 6, 0.5)),
        "pairs_white": white(q, *supervised(g, pairs, 5)),
        "expanded": averaged(q, g, ranked(to_gallery), to_gallery, 8, 3.0),
        "average": averaged(q, g, ranked(to_gallery), to_gallery, 4, 0.0),
        "augmented": averaged(g, g, without_self(own), own, 5, 2.0),
        "k_reciprocal": k_reciprocal(q, g, 9, 4, 0.3),
        "diffusion": diffusion(q, g, 11, 4, 3.0, 0.9, 50),
    }
    wide = {name: value.astype(np.float32) if value.dtype == np.float64 else value for name, value in tensors.items()}
    save_file({name: np.ascontiguousarray(value) for name, value in wide.items()}, sys.argv[1])


main()
