"""The losses that Recall@k is compared with, in PyTorch, to compare `cargo xtask bench rivals` with.

Three ways. `formula` is the loss as its authors wrote it down, of whole matrices, written here: no loop over
rows, comparisons of triples a block of queries at a time, histograms by scatter instead of one matrix a bin,
indices found without a graph. `layout` is that formula with the tensors that the authors' programs lay out for
an average precision: all comparisons of a query's items with each other, or a matrix of all pairs for each bin.
`pml` is the class of pytorch-metric-learning that computes the same function on unit rows, where there is one.

    rivals.py FOLDER --way formula|layout|pml [--threads N] [--repeat R]
    rivals.py --check REFERENCE_FOLDER

FOLDER holds case.json, {"kind", "n", "dim", "classes", "settings"}, embeddings.f32 (unit rows), labels.i64 and
what the loss needs besides: proxies.f32 (classes x dim; soft-triple: classes x centres x dim), triplets.i64,
pairs.i64, memory.f32 and memory_labels.i64 (xbm: the ring before the step; the batch enters at the setting
`pointer`), keys.f32, queue.f32, mix_first.i64, mix_second.i64, mix_alpha.f32, query_pick.i64 and query_alpha.f32
(hard-negative-mixing), lam.f32 (metrix, unless `lam` is a setting). Prints one line of JSON with the seconds of a
step, forward and backward, masks and mining included.

`--check` compares both ways, in double precision, with reference values and gradients.
"""

import argparse
import json
import math
import statistics
import sys
import time
from pathlib import Path

import torch
from torch.nn import functional as F

NONE = -1e30
"""The logarithm of nothing, to any sum. Not infinite, which has no gradient."""
BLOCK_BYTES = 16e6
"""What is compared at once should about stay in the cache of a processor."""
LAYOUT_BYTES = 64e6
"""Larger tensors of the authors' layouts are taken a block of queries at a time; the fastest of some sizes."""
FEW = 64
"""Below one in this many of all pairs rows are gathered; above, the whole matrix is cheaper."""


# What the losses are made of.


def classes_of(y):
    """Indices 0, 1, … of any labels."""
    return torch.unique(y, return_inverse=True)[1]


def relation(y, other=None):
    """Pairs of one class, and pairs of two, as masks; no item is its own positive."""
    same = y.unsqueeze(1) == (y if other is None else other)
    different = ~same
    if other is None:
        same.fill_diagonal_(False)
    return same, different


def positives_of(y, own=False):
    """The others of each item's class, padded: indices and which of them are real, `[n, P]`."""
    n = len(y)
    inverse, counts = torch.unique(y, return_inverse=True, return_counts=True)[1:]
    order = torch.argsort(inverse, stable=True)
    first = (counts.cumsum(0) - counts)[inverse].unsqueeze(1)
    count = counts[inverse].unsqueeze(1)
    slot = torch.arange(max(int(counts.max()) - (not own), 1)).expand(n, -1)
    if own:
        real = slot < count
    else:
        place = torch.empty_like(order)
        place[order] = torch.arange(n)
        real = slot < count - 1
        slot = slot + (slot >= place.unsqueeze(1) - first)
    return order[(first + slot).clamp(max=n - 1)], real


def blocks(n, bytes_of_row, most=BLOCK_BYTES):
    rows = max(1, int(most / bytes_of_row))
    return (torch.arange(i, min(i + rows, n)) for i in range(0, n, rows))


def squared(e, other=None):
    """Squared distances of all pairs, whatever the lengths of the rows."""
    other = e if other is None else other
    norms = e.square().sum(1, keepdim=True), other.square().sum(1)
    return torch.addmm(norms[0] + norms[1], e, other.t(), alpha=-2)


def root(d2):
    return d2.clamp(min=1e-12).sqrt()


def distances(e):
    return root(squared(e))


def squared_at(e, *pairs):
    """Squared distances of the pairs (i, j) only."""
    if sum(len(i) for i, _ in pairs) * FEW < len(e) ** 2:
        return [(e[i] - e[j]).square().sum(1) for i, j in pairs]
    d2 = squared(e)
    return [d2[i, j] for i, j in pairs]


def unit(x):
    return F.normalize(x, dim=-1)


def log_sum(x, mask, dim=1):
    """The logarithm of the sum of exponentials where the mask holds; `NONE` of nothing."""
    return torch.where(mask, x, NONE).logsumexp(dim)


def log1p_sum(x, mask, dim=1):
    total = log_sum(x, mask, dim)
    return torch.logaddexp(total, torch.zeros_like(total))


def mean_nonzero(x):
    """The mean of the terms above 0."""
    return x.sum() / (x > 0).sum().clamp(min=1)


def histograms(t, bins, left_out=None):
    """Rows of places between bins to their triangular histograms: `[b, n]` to `[b, bins]`.

    A place outside is that of the first or the last. What is left out counts in bins that are dropped.
    """
    t = t.clamp(0, bins - 1)
    below = t.detach().to(torch.int64).clamp_(max=bins - 2)
    upper = t - below
    if left_out is not None:
        below[left_out] = bins
    empty = t.new_zeros(len(t), bins + 2)
    return empty.scatter_add(1, below, 1 - upper).scatter_add(1, below + 1, upper)[:, :bins]


# Ranking losses: their parts, a block of queries each, add up to the loss.


def smooth_ap(e, y, s, x):
    tau, included = s.get("tau", 0.01), s.get("query_included", True)
    lonely = included and s.get("lonely_counted", False)
    index, real = positives_of(y, own=included)
    n, width = len(e), index.shape[1]
    queries = (real.sum(1) > (included and not lonely)).nonzero()[:, 0]
    for part in blocks(len(queries), 2 * e.element_size() * width * n):
        b = queries[part]
        sim = (e[b] @ e.t()) / tau
        pos, ok = sim.gather(1, index[b]), real[b]
        if not included:
            sim = sim.scatter(1, b.unsqueeze(1), NONE)
        # An item against itself is one half.
        rank = 0.5 + torch.sigmoid(sim.unsqueeze(1) - pos.unsqueeze(2)).sum(2)
        within = torch.sigmoid(pos.unsqueeze(1) - pos.unsqueeze(2))
        within = 0.5 + (within * ok.unsqueeze(1)).sum(2)
        ap = (within / rank * ok).sum(1) / ok.sum(1)
        yield (1 - ap).sum() / len(queries)


def listwise_ap(e, y, s, x):
    bins, low, high = s.get("bins", 20), s.get("low", -1.0), s.get("high", 1.0)
    included, step = s.get("query_included", False), (high - low) / (bins - 1)
    index, real = positives_of(y)
    queries = real.any(1).nonzero()[:, 0]
    for part in blocks(len(queries), 24 * len(e)):
        b = queries[part]
        rows = torch.arange(len(b))
        place = (high - e[b] @ e.t()) / step
        everything = histograms(place, bins, (rows, b))
        own = histograms(place.gather(1, index[b]), bins, ~real[b])
        if included:
            # The query's similarity to itself is no variable.
            query = histograms((high - e[b].detach().square().sum(1, keepdim=True)) / step, bins)
            own, everything = own + query, everything + query
        precision = own.cumsum(1) / (everything.cumsum(1) + 1e-16)
        ap = (precision * own).sum(1) / own.sum(1)
        yield (1 - ap).sum() / len(queries)


def fast_ap(e, y, s, x):
    bins = s.get("bins", 10)
    index, real = positives_of(y)
    queries = real.any(1).nonzero()[:, 0]
    for part in blocks(len(queries), 24 * len(e)):
        b = queries[part]
        place = (2 - 2 * (e[b] @ e.t())) * (bins / 4)
        everything = histograms(place, bins + 1, (torch.arange(len(b)), b)).cumsum(1)
        own = histograms(place.gather(1, index[b]), bins + 1, ~real[b])
        nothing = everything <= 0
        precision = own * own.cumsum(1) / everything.masked_fill(nothing, 1)
        ap = precision.masked_fill(nothing, 0).sum(1) / real[b].sum(1)
        yield (1 - ap).sum() / len(queries)


# The same average precisions by the tensors of the authors' programs.


def smooth_ap_layout(e, y, s, x):
    """Of each query all items are compared with all, `[b, n, n]`, and the positives are picked by a mask."""
    tau, included = s.get("tau", 0.01), s.get("query_included", True)
    lonely = included and s.get("lonely_counted", False)
    same = y.unsqueeze(1) == y
    if not included:
        same.fill_diagonal_(False)
    queries = (same.sum(1) > (included and not lonely)).nonzero()[:, 0]
    n = len(e)
    for part in blocks(len(queries), 4 * e.element_size() * n * n, LAYOUT_BYTES):
        b = queries[part]
        sim, ok = e[b] @ e.t(), same[b]
        above = torch.sigmoid(((sim.unsqueeze(1) - sim.unsqueeze(2)) / tau).clamp(-50, 50))
        above = above.masked_fill(torch.eye(n, dtype=torch.bool), 0)
        if not included:
            above = above.masked_fill(F.one_hot(b, n).bool().unsqueeze(1), 0)
        rank = 1 + above.sum(2)
        within = 1 + (above * ok.unsqueeze(1)).sum(2)
        ap = (within / rank * ok).sum(1) / ok.sum(1)
        yield (1 - ap).sum() / len(queries)


def listwise_ap_layout(e, y, s, x):
    """Each similarity has a weight in each bin, `[b, M, n]`."""
    bins, low, high = s.get("bins", 20), s.get("low", -1.0), s.get("high", 1.0)
    included, step = s.get("query_included", False), (high - low) / (bins - 1)
    same = y.unsqueeze(1) == y
    others = ~torch.eye(len(e), dtype=torch.bool)
    queries = (same & others).any(1).nonzero()[:, 0]
    middle = torch.arange(bins, dtype=e.dtype).unsqueeze(1)
    for part in blocks(len(queries), 8 * e.element_size() * bins * len(e), LAYOUT_BYTES):
        b = queries[part]
        sim, of = e[b] @ e.t(), others[b]
        if included:
            sim, of = torch.where(of, sim, sim.detach()), torch.ones_like(of)
        place = ((high - sim) / step).clamp(0, bins - 1)
        weight = F.relu(1 - (place.unsqueeze(1) - middle).abs()) * of.unsqueeze(1)
        own, everything = (weight * same[b].unsqueeze(1)).sum(2), weight.sum(2)
        precision = own.cumsum(1) / (everything.cumsum(1) + 1e-16)
        ap = (precision * own).sum(1) / own.sum(1)
        yield (1 - ap).sum() / len(queries)


def fast_ap_layout(e, y, s, x):
    """A matrix of all pairs for each bin."""
    bins = s.get("bins", 10)
    same, different = relation(y)
    queries = same.any(1)
    place = (2 - 2 * (e @ e.t())) * (bins / 4)
    own, everything = [], []
    for bin in range(bins + 1):
        # What lies beyond the ends is at the ends.
        weight = F.relu(1 - (place.clamp(0, bins) - bin).abs())
        own.append((weight * same).sum(1))
        everything.append(own[-1] + (weight * different).sum(1))
    own, everything = torch.stack(own, 1)[queries], torch.stack(everything, 1)[queries].cumsum(1)
    nothing = everything <= 0
    precision = own * own.cumsum(1) / everything.masked_fill(nothing, 1)
    ap = precision.masked_fill(nothing, 0).sum(1) / same[queries].sum(1)
    return (1 - ap).mean()


class Ranks(torch.autograd.Function):
    """Ranks of the positives among all scores, and the difference of two rankings as their gradient.

    Only positives have a slope, so an item that is none moves by as many places as positives overtake it,
    and nothing has to be sorted.
    """

    @staticmethod
    def forward(ctx, scores, index, real, lam, length):
        own = scores.gather(1, index).masked_fill(~real, torch.inf)
        above = scores.unsqueeze(1) > own.unsqueeze(2)
        rank = 1 + above.sum(2, dtype=torch.int32)
        ctx.save_for_backward(scores, index, real, rank, above.sum(1, dtype=torch.int32))
        ctx.lam, ctx.length = lam, length
        return rank.to(scores.dtype)

    @staticmethod
    def backward(ctx, slope):
        scores, index, real, rank, below = ctx.saved_tensors
        # By the rank over the length of the list.
        own = scores.gather(1, index) + ctx.lam * (slope * ctx.length)
        own = own.masked_fill(~real, torch.inf)
        # Places of positives that do not count are those of nothing.
        keep = torch.where(real, index, scores.shape[1])
        others = F.pad(scores, (0, 1)).scatter(1, keep, -torch.inf)[:, :-1]
        above = others.unsqueeze(1) > own.unsqueeze(2)
        moved = above.sum(2, dtype=torch.int32) + 1
        moved = moved + (own.unsqueeze(1).masked_fill(~real.unsqueeze(1), -torch.inf) > own.unsqueeze(2)).sum(2)
        # Of the items that are no positives: how many positives passed them.
        shift = above.sum(1, dtype=torch.int32) - below
        shift = F.pad(shift, (0, 1)).scatter(1, keep, (rank - moved).to(shift.dtype))[:, :-1]
        shift = shift.to(scores.dtype)
        shift[~torch.isfinite(scores)] = 0
        return shift * (-1 / (ctx.length * (ctx.lam + 1e-8))), None, None, None, None


def blackbox(e, y, s, x, ap):
    lam = s.get("lambda", 4.0)
    margin, loglog = s.get("margin", 0.02), s.get("weight", "loglog") == "loglog"
    n, factor = len(e), s.get("count_factor", 1.0)
    index, real = positives_of(y)
    queries = real.any(1).nonzero()[:, 0]
    pairs = real.sum()
    for part in blocks(len(queries), (8 + index.shape[1]) * n * 2):
        b = queries[part]
        shift = (0.5 - (y[b].unsqueeze(1) == y).to(e.dtype)) * margin
        if "noise" in x:
            shift = shift * x["noise"][b]
        scores = (e[b] @ e.t() + shift).scatter(1, b.unsqueeze(1), -torch.inf)
        ok = real[b]
        rank = Ranks.apply(scores, index[b], ok, lam, n - 1)
        with torch.no_grad():
            own = scores.gather(1, index[b]).masked_fill(~ok, -torch.inf)
            within = 1 + (own.unsqueeze(1) > own.unsqueeze(2)).sum(2)
        if ap:
            each = (within / rank).masked_fill(~ok, 0).sum(1) / (ok.sum(1).to(e.dtype) + s.get("eps", 0.0))
            yield (1 - each).sum() / len(queries)
        else:
            above = torch.log1p((rank - within).masked_fill(~ok, 0) * factor)
            yield (torch.log1p(above) if loglog else above).sum() / pairs


# Pairs and triplets.


def contrastive(e, y, s, x):
    same, different = relation(y)
    form, n = s.get("form", "cosine"), len(e)
    if form == "cosine":
        margin = s.get("margin", 0.5)
        sim = e @ e.t()
        active = different & (sim > margin)
        shift = margin if s.get("subtract_margin", False) else 0.0
        signs = active.to(e.dtype) - same.to(e.dtype)
        return ((signs * sim).sum() + same.sum() - shift * active.sum().to(e.dtype)) / n
    d2 = squared(e)
    d = root(d2)
    if form == "squared":
        terms = torch.where(different, F.relu(s.get("margin", 1.0) - d).square(), d2)
        return terms.fill_diagonal_(0).sum() / (2 * n * (n - 1))
    near = F.relu(d - s.get("pos_margin", 0.0)) * same
    far = F.relu(s.get("neg_margin", 1.0) - d) * different
    return mean_nonzero(near) + mean_nonzero(far)


def mined(d, y, mining):
    """Triplets of a matrix of distances, one a positive or one an anchor."""
    same, different = relation(y)
    if mining == "batch_hard":
        anchors = (same.any(1) & different.any(1)).nonzero()[:, 0]
        positive = torch.where(same, d, -torch.inf).argmax(1)
        negative = torch.where(different, d, torch.inf).argmin(1)
        return anchors, positive[anchors], negative[anchors]
    index, real = positives_of(y)
    nearest = []
    for b in blocks(len(d), index.shape[1] * len(d) * 5):
        own = torch.where(different[b], d[b], torch.inf).unsqueeze(1)
        own = own.masked_fill(own <= d[b].gather(1, index[b]).unsqueeze(2), torch.inf)
        least, found = own.min(2)
        farthest = torch.where(different[b], d[b], -torch.inf).argmax(1, keepdim=True)
        nearest.append(torch.where(least.isinf(), farthest, found))
    anchors, slots = real.nonzero(as_tuple=True)
    return anchors, index[anchors, slots], torch.cat(nearest)[anchors, slots]


def triplet(e, y, s, x):
    mining, margin = s.get("mining", "semihard_nearest"), s.get("margin", 0.2)
    plain = s.get("distance", "euclidean" if mining not in ("all", "semihard_nearest") else "squared") == "euclidean"
    if mining in ("batch_hard", "semihard_nearest"):
        with torch.no_grad():
            a, p, n = mined(squared(e), y, mining)
        near, far = squared_at(e, (a, p), (a, n))
        if plain:
            near, far = root(near), root(far)
        gap = near - far
        return (torch.logaddexp(gap, torch.zeros_like(gap)) if s.get("soft", False) else F.relu(gap + margin)).mean()
    # All triplets of a kind: how often each distance counts is a constant.
    d = distances(e) if plain else squared(e)
    count, value = 0, d.detach()
    weight = torch.zeros_like(value)
    _, different = relation(y)
    index, real = positives_of(y)
    for b in blocks(len(e), index.shape[1] * len(e) * 6):
        own = torch.where(different[b], value[b], torch.inf).unsqueeze(1)
        near = value[b].gather(1, index[b]).masked_fill(~real[b], -torch.inf).unsqueeze(2)
        chosen = own < near + margin
        if mining == "semihard_window":
            chosen &= own > near
        elif mining == "hard_window":
            chosen &= own <= near
        of_positive = chosen.sum(2)
        count += of_positive.sum().item()
        weight[b] -= chosen.sum(1)
        weight[b] = weight[b].scatter_add(1, index[b], of_positive.to(e.dtype))
    return (weight * d).sum() / max(count, 1) + (margin if count else 0.0)


def margin(e, y, s, x):
    a, p, n = x["triplets"].unbind(1)
    alpha, beta, nu = s.get("alpha", 0.2), x.get("beta", s.get("beta", 1.2)), s.get("nu", 0.0)
    if torch.is_tensor(beta) and beta.numel() > 1:
        beta = beta[classes_of(y)[a]]
    near, far = ((d + 1e-8).sqrt() for d in squared_at(e, (a, p), (a, n)))
    near, far = F.relu(alpha + near - beta), F.relu(alpha + beta - far)
    terms = near.sum() + far.sum()
    if nu:
        terms = terms + nu * (beta.sum() if torch.is_tensor(beta) and beta.numel() > 1 else beta * len(a))
    return terms / ((near > 0).sum() + (far > 0).sum()).clamp(min=1)


def n_pair_of(a, p, l2):
    loss = F.cross_entropy(a @ p.t(), torch.arange(len(a)))
    return loss + l2 / 4 * (a.square().sum(1).mean() + p.square().sum(1).mean())


def n_pair(e, y, s, x):
    a, p = x["pairs"].unbind(1)
    return n_pair_of(e[a], e[p], s.get("l2", 0.002))


def lifted(e, y, s, x):
    same, different = relation(y)
    d, m = distances(e), s.get("margin", 1.0)
    far = log_sum(m - d, different)
    if s.get("generalised", False):
        anchors = same.any(1)
        return F.relu(log_sum(d, same)[anchors] + far[anchors]).mean()
    i, j = same.triu().nonzero(as_tuple=True)
    return F.relu(torch.logaddexp(far[i], far[j]) + d[i, j]).square().sum() / (2 * len(i))


def multi_similarity(e, y, s, x):
    alpha, beta, base = s.get("alpha", 2.0), s.get("beta", 50.0), s.get("base", 0.5)
    epsilon = s.get("epsilon", 0.1)
    same, different = relation(y)
    sim = e @ e.t()
    if epsilon is not None:
        with torch.no_grad():
            nearest = torch.where(different, sim, -torch.inf).amax(1, keepdim=True)
            farthest = torch.where(same, sim, torch.inf).amin(1, keepdim=True)
            same, different = same & (sim - epsilon < nearest), different & (sim + epsilon > farthest)
    near = log1p_sum(alpha * (base - sim), same) / alpha
    return (near + log1p_sum(beta * (sim - base), different) / beta).mean()


def histogram(e, y, s, x):
    step = s.get("step", 0.02)
    nodes = round(2 / step) + 1
    index, real = positives_of(y)
    place = (e @ e.t() + 1) / step
    rows = torch.arange(len(e))
    everything = histograms(place, nodes, (rows, rows)).sum(0)
    own = histograms(place.gather(1, index), nodes, ~real).sum(0)
    others = everything - own
    # Each pair twice, in both.
    count = real.sum()
    return (others @ own.cumsum(0)) / (count * (len(e) * (len(e) - 1) - count))


def angular_pairs(a, p, degrees):
    t = math.tan(math.radians(degrees)) ** 2
    f = 4 * t * ((a + p) @ p.t()) - 2 * (1 + t) * (a * p).sum(1, keepdim=True)
    return log1p_sum(f, ~torch.eye(len(a), dtype=torch.bool)).mean()


def angular(e, y, s, x):
    degrees = s.get("degrees", 45.0)
    if not s.get("all_pairs", False):
        a, p = x["pairs"].unbind(1)
        weight = s.get("angular_weight")
        if weight is None:
            yield angular_pairs(e[a], e[p], degrees)
        else:
            yield n_pair_of(e[a], e[p], s.get("l2", 0.002)) + weight * angular_pairs(unit(e[a]), unit(e[p]), degrees)
        return
    # Of an anchor and a positive it is the sum that counts, so each pair once.
    t = math.tan(math.radians(degrees)) ** 2
    same, different = relation(y)
    first, second = same.triu().nonzero(as_tuple=True)
    for b in blocks(len(first), 4 * e.element_size() * len(e)):
        i, j = first[b], second[b]
        f = (4 * t) * ((e[i] + e[j]) @ e.t()) - 2 * (1 + t) * (e[i] * e[j]).sum(1, keepdim=True)
        yield log1p_sum(f, different[i]).sum() / len(first)


def sup_con(e, y, s, x):
    tau = s.get("temperature", 0.1)
    same, _ = relation(y)
    logits = e @ e.t() / tau
    rest = logits.clone().fill_diagonal_(NONE).logsumexp(1)
    count = same.sum(1)
    each = rest - (logits * same).sum(1) / count.clamp(min=1)
    each = each.masked_fill(count == 0, 0)
    total = len(e) if s.get("lonely_counted", False) else (count > 0).sum()
    return each.sum() / total * s.get("scale", 1.0)


def info_nce(e, y, s, x):
    same, different = relation(y)
    logits = e @ e.t() / s.get("temperature", 0.07)
    i, j = same.nonzero(as_tuple=True)
    gap = log_sum(logits, different)[i] - logits[i, j]
    return torch.logaddexp(gap, torch.zeros_like(gap)).mean()


# Proxies.


def proxy_nca(e, y, s, x):
    a, b = s.get("embedding_length", 3.0), s.get("proxy_length", 3.0)
    smoothing = s.get("smoothing", 0.0)
    # The rest of the squared distance is the same for all proxies.
    logits = unit(e) @ unit(x["proxies"]).t() * (2 * a * b)
    own = y.unsqueeze(1)
    if smoothing:
        each = -F.log_softmax(logits, 1)
        classes = logits.shape[1]
        target = each.gather(1, own)[:, 0]
        rest = smoothing / (classes - 1)
        return ((1 - smoothing - rest) * target + rest * each.sum(1)).mean()
    if s.get("positive_in_sum", False):
        return F.cross_entropy(logits, y)
    return (logits.scatter(1, own, NONE).logsumexp(1) - logits.gather(1, own)[:, 0]).mean()


def proxy_nca_pp(e, y, s, x):
    return F.cross_entropy(unit(e) @ unit(x["proxies"]).t() * (2 / s.get("temperature", 1 / 9)), y)


def proxy_anchor(e, y, s, x):
    alpha, delta = s.get("alpha", 32.0), s.get("delta", 0.1)
    cos = unit(x["proxies"]) @ unit(e).t()
    own = torch.arange(len(cos)).unsqueeze(1) == y
    near = log1p_sum(alpha * (delta - cos), own).sum() / own.any(1).sum()
    return near + log1p_sum(alpha * (cos + delta), ~own).mean()


def soft_triple(e, y, s, x):
    la, gamma, delta, tau = s.get("la", 20.0), s.get("gamma", 0.1), s.get("delta", 0.01), s.get("tau", 0.2)
    centres = unit(x["proxies"])
    classes, k, _ = centres.shape
    sim = (e @ centres.flatten(0, 1).t()).view(-1, classes, k)
    logits = la * (F.softmax(sim / gamma, 2) * sim).sum(2)
    own = y.unsqueeze(1)
    loss = F.cross_entropy(logits.scatter_add(1, own, logits.new_full((len(e), 1), -la * delta)), y)
    if tau and k > 1:
        i, j = torch.triu_indices(k, k, 1)
        close = (centres @ centres.transpose(1, 2))[:, i, j]
        loss = loss + tau / (classes * k * (k - 1)) * (2 + 1e-5 - 2 * close).sqrt().sum()
    return loss


def norm_softmax(e, y, s, x):
    return F.cross_entropy(e @ unit(x["proxies"]).t() / s.get("temperature", 0.05), y)


def target_changed(cos, y, change):
    own = y.unsqueeze(1)
    return cos.scatter(1, own, change(cos.gather(1, own)))


def angle(cos):
    edge = 1 - (1e-7 if cos.dtype == torch.float32 else 1e-15)
    return cos.clamp(-edge, edge).acos()


def sphere_face(e, y, s, x):
    m, lam = s.get("m", 4), s.get("lambda", 5.0)
    length = e.norm(dim=1, keepdim=True)

    def change(cos):
        theta = angle(cos)
        k = (theta.detach() * (m / math.pi)).floor()
        phi = (1 - 2 * (k % 2)) * torch.cos(m * theta) - 2 * k
        return (lam * cos + phi) / (1 + lam)

    return F.cross_entropy(target_changed(unit(e) @ unit(x["proxies"]).t(), y, change) * length, y)


def cos_face(e, y, s, x):
    cos = unit(e) @ unit(x["proxies"]).t()
    return F.cross_entropy(target_changed(cos, y, lambda c: c - s.get("m", 0.35)) * s.get("s", 64.0), y)


def arc_face(e, y, s, x):
    m = s.get("m", 0.5)

    def change(cos):
        theta = angle(cos)
        if s.get("straight_through", False):
            return cos + (torch.cos(theta + m) - cos).detach()
        if not s.get("fallback", True):
            return torch.cos(theta + m)
        return torch.where(theta + m > math.pi, cos - m * math.sin(m), torch.cos(theta + m))

    return F.cross_entropy(target_changed(unit(e) @ unit(x["proxies"]).t(), y, change) * s.get("s", 64.0), y)


# Memory.


class Ring:
    """Past embeddings and labels. `tail` is the released queue: a batch that does not fit takes the last slots."""

    def __init__(self, memory, labels, pointer=0, tail=False):
        self.memory, self.labels, self.pointer, self.tail = memory, labels, pointer, tail

    def enqueue(self, e, y):
        size, b = len(self.labels), len(y)
        if self.tail and self.pointer + b > size:
            slots, self.pointer = torch.arange(size - b, size), 0
        else:
            slots = (self.pointer + torch.arange(b)) % size
            self.pointer = (self.pointer + b) % size
        self.memory[slots], self.labels[slots] = e.detach(), y
        return slots


def xbm_terms(e, y, s, ring, slots):
    """The batch against itself, and against the memory without the copies of the items."""
    empty = ring.labels < 0
    same, different = relation(y, ring.labels)
    same[torch.arange(len(y)), slots] = False
    if empty.any():
        different &= ~empty
    sim = e @ ring.memory.t()
    margin, subtract = s.get("margin", 0.5), s.get("subtract_margin", False)
    active = different & (sim > margin)
    total = ((active.to(e.dtype) - same.to(e.dtype)) * sim).sum() + same.sum()
    if subtract:
        total = total - margin * active.sum().to(e.dtype)
    return contrastive(e, y, s, {}), total / len(y)


def xbm(e, y, s, x):
    ring = Ring(x["memory"], x["memory_labels"], s.get("pointer", 0))
    batch, memory = xbm_terms(e, y, s, ring, ring.enqueue(e, y))
    return batch + s.get("memory_weight", 1.0) * memory


# Mixing and synthesis.


def metrix(e, y, s, x):
    a, p, n = x["triplets"].unbind(1)
    lam = x["lam"] if "lam" in x else e.new_tensor([s["lam"]])
    mix = lam.unsqueeze(1)
    anchors = e[a]
    v = unit(mix * e[p] + (1 - mix) * e[n])
    if s.get("base_loss", "contrastive") == "multi_similarity":
        alpha, beta, base = s.get("alpha", 2.0), s.get("beta", 50.0), s.get("base", 0.5)
        sim = (anchors * v).sum(1)

        def each(x, scale):
            # Sums by anchor, of 1 and weighted exponentials.
            total = x.new_ones(len(e)).index_add(0, a, x.exp())
            return total.log() / scale

        mixed = each(lam.log() - alpha * (sim - base), alpha) + each((1 - lam).log() + beta * (sim - base), beta)
        mixed = mixed.mean()
        clean = multi_similarity(e, y, {**s, "epsilon": None}, x)
    else:
        far = s.get("neg_margin", 0.5)
        d = root((anchors - v).square().sum(1))
        mixed = mean_nonzero(lam * d) + mean_nonzero((1 - lam) * F.relu(far - d))
        clean = None
    weight = s.get("weight", 0.4)
    if weight is None:
        return mixed
    if clean is None:
        clean = contrastive(e, y, {"form": "hinges", "neg_margin": far}, x)
    return clean + weight * mixed


def mixup(e, y, s, x):
    """At the input, with a linear embedding or none; or at the embedding."""
    lam, other = s["lam"], x["permutation"]
    z = e
    if s["at"] == "input":
        z = lam * e + (1 - lam) * e[other]
    z = unit(z @ x["weight"] if "weight" in x else z)
    if s["at"] == "embedding":
        z = unit(lam * z + (1 - lam) * z[other])
    logits = z @ unit(x["proxies"]).t() / s.get("temperature", 0.05)
    return lam * F.cross_entropy(logits, y) + (1 - lam) * F.cross_entropy(logits, y[other])


def proxy_synthesis(e, y, s, x):
    lam, scale = s["lam"], s.get("scale", 23.0)
    rows, proxies = unit(e), unit(x["proxies"])
    own = proxies[y]

    def mix(rows):
        return unit(lam * rows + (1 - lam) * rows.roll(1, 0))

    rows, proxies = torch.cat([rows, mix(rows)]), torch.cat([proxies, mix(own)])
    targets = torch.cat([y, len(x["proxies"]) + torch.arange(len(y))])
    factor = 2 * scale if s.get("base_loss", "norm_softmax") == "proxy_nca" else scale
    return F.cross_entropy(rows @ proxies.t() * factor, targets)


def mirrored(x, axis):
    """Rows mirrored at the lines through others."""
    return 2 * (x * axis).sum(1, keepdim=True) / axis.square().sum(1, keepdim=True) * axis - x


def symmetrical_synthesis(e, y, s, x):
    a, p = e[x["pairs"][:, 0]], e[x["pairs"][:, 1]]
    pa, ap = mirrored(p, a), mirrored(a, p)
    both = torch.stack([a, p, pa, ap])
    n = len(a)
    products = (both.flatten(0, 1) @ both.flatten(0, 1).t()).view(4, n, 4, n)
    # The six pairs of points; of a pair of classes the largest, the own class included.
    first, second = torch.triu_indices(4, 4, 1)
    logits = products[first, :, second].amax(0)
    loss = F.cross_entropy(logits, torch.arange(n))
    return loss + s.get("l2", 0.002) / 4 * (a.square().sum(1).mean() + p.square().sum(1).mean())


def hard_negative_mixing(e, y, s, x):
    tau, keys, queue = s.get("temperature", 0.2), x["keys"], x["queue"]
    away = e @ queue.t()
    with torch.no_grad():
        hardest = x["hardest"] if "hardest" in x else away.topk(s.get("hardest", 1024), dim=1)[1]
        first, second = hardest.gather(1, x["mix_first"]), hardest.gather(1, x["mix_second"])
        alpha = x["mix_alpha"].unsqueeze(2)
        made = alpha * queue[first] + (1 - alpha) * queue[second]
        if "query_pick" in x:
            beta = x["query_alpha"].unsqueeze(2)
            picked = queue[hardest.gather(1, x["query_pick"])]
            made = torch.cat([made, beta * e.unsqueeze(1) + (1 - beta) * picked], 1)
        made = unit(made)
    near = (e * keys).sum(1, keepdim=True)
    synthetic = torch.bmm(made, e.unsqueeze(2)).squeeze(2)
    logits = torch.cat([near, away, synthetic], 1) / tau
    return F.cross_entropy(logits, torch.zeros(len(e), dtype=torch.int64))


FORMULAS = {
    "smooth-ap": smooth_ap,
    "listwise-ap": listwise_ap,
    "fast-ap": fast_ap,
    "blackbox-ap": lambda *a: blackbox(*a, ap=True),
    "blackbox-recall": lambda *a: blackbox(*a, ap=False),
    "contrastive": contrastive,
    "triplet": triplet,
    "margin": margin,
    "n-pair": n_pair,
    "lifted": lifted,
    "multi-similarity": multi_similarity,
    "histogram": histogram,
    "angular": angular,
    "sup-con": sup_con,
    "info-nce": info_nce,
    "proxy-nca": proxy_nca,
    "proxy-nca-pp": proxy_nca_pp,
    "proxy-anchor": proxy_anchor,
    "soft-triple": soft_triple,
    "norm-softmax": norm_softmax,
    "sphere-face": sphere_face,
    "cos-face": cos_face,
    "arc-face": arc_face,
    "xbm": xbm,
    "metrix": metrix,
    "mixup": mixup,
    "proxy-synthesis": proxy_synthesis,
    "symmetrical-synthesis": symmetrical_synthesis,
    "hard-negative-mixing": hard_negative_mixing,
}
LAYOUTS = {"smooth-ap": smooth_ap_layout, "listwise-ap": listwise_ap_layout, "fast-ap": fast_ap_layout}


# The same by pytorch-metric-learning.


class Skipped(Exception):
    """Why there is nothing to measure."""


def with_parameter(loss, name, value):
    """A loss whose proxies are a leaf of ours."""
    setattr(loss, name, torch.nn.Parameter(value))
    return loss


def pml(kind, y, s, x, dim):
    """A function of embeddings and the leaf of the proxies, if any; or `Skipped`."""
    from pytorch_metric_learning import distances as dist
    from pytorch_metric_learning import losses, miners, reducers

    proxies = x.get("proxies")
    shape = {} if proxies is None else {"num_classes": len(proxies), "embedding_size": dim}
    loss = mine = None

    def refuse(unless, reason):
        if not unless:
            raise Skipped(f"pytorch-metric-learning {reason}")

    if kind == "smooth-ap":
        refuse(False, "takes the size of a class for the number of classes")
    elif kind == "fast-ap":
        loss = losses.FastAPLoss(num_bins=s.get("bins", 10))
    elif kind == "contrastive":
        form = s.get("form", "cosine")
        if form == "hinges":
            loss = losses.ContrastiveLoss(pos_margin=s.get("pos_margin", 0.0), neg_margin=s.get("neg_margin", 1.0))
        else:
            refuse(form == "cosine", "has no contrastive loss of squares")
            refuse(s.get("subtract_margin", False), "adds s - m, not s")
            similarity = losses.ContrastiveLoss(
                pos_margin=1.0,
                neg_margin=s.get("margin", 0.5),
                distance=dist.CosineSimilarity(),
                reducer=reducers.SumReducer(),
            )
            return lambda e: similarity(e, y) / len(e), None
    elif kind == "triplet":
        mining, far = s.get("mining", "semihard_nearest"), s.get("margin", 0.2)
        refuse(mining != "semihard_nearest", "has no nearest semi-hard negative")
        plain = s.get("distance", "squared" if mining == "all" else "euclidean") == "euclidean"
        distance = dist.LpDistance(power=1 if plain else 2)
        if mining == "batch_hard":
            mine = miners.BatchHardMiner()
            soft = s.get("soft", False)
            loss = losses.TripletMarginLoss(
                margin=0.0 if soft else far, smooth_loss=soft, distance=distance, reducer=reducers.MeanReducer()
            )
        else:
            if mining != "all":
                refuse(plain, "has no such window")
                kinds = {"semihard_window": "semihard", "hard_window": "hard"}
                mine = miners.TripletMarginMiner(margin=far, type_of_triplets=kinds[mining])
            loss = losses.TripletMarginLoss(margin=far, distance=distance)
    elif kind == "margin":
        beta = x.get("beta", s.get("beta", 1.2))
        of_class = torch.is_tensor(beta) and beta.numel() > 1
        loss = losses.MarginLoss(
            margin=s.get("alpha", 0.2),
            nu=s.get("nu", 0.0),
            beta=1.2 if of_class else float(beta),
            num_classes=len(beta) if of_class else None,
            learn_beta=torch.is_tensor(beta),
        )
        leaf = None
        if torch.is_tensor(beta):
            leaf = "beta"
            with_parameter(loss, "beta", beta.detach().clone().reshape(-1))
        labels, chosen = classes_of(y), tuple(x["triplets"].unbind(1))
        return lambda e: loss(e, labels, chosen), leaf and loss.beta
    elif kind == "n-pair":
        refuse(s.get("l2", 0.002) == 0, "has no such penalty")
        loss = losses.NPairsLoss(distance=dist.DotProductSimilarity(normalize_embeddings=False))
        none = torch.empty(0, dtype=torch.int64)
        chosen = (*x["pairs"].unbind(1), none, none)
        return lambda e: loss(e, y, chosen), None
    elif kind == "lifted":
        name = "GeneralizedLiftedStructureLoss" if s.get("generalised", False) else "LiftedStructureLoss"
        refuse(name == "LiftedStructureLoss" or relation(y)[0].any(1).all(), "counts items without a positive")
        distance = dist.LpDistance(normalize_embeddings=False)
        loss = getattr(losses, name)(neg_margin=s.get("margin", 1.0), distance=distance)
    elif kind == "multi-similarity":
        epsilon = s.get("epsilon", 0.1)
        mine = None if epsilon is None else miners.MultiSimilarityMiner(epsilon=epsilon)
        loss = losses.MultiSimilarityLoss(alpha=s.get("alpha", 2.0), beta=s.get("beta", 50.0), base=s.get("base", 0.5))
    elif kind == "histogram":
        refuse((~relation(y)[0].any(1)).sum() < 2, "drops pairs of two items without a positive")
        loss = losses.HistogramLoss(delta=s.get("step", 0.02))
    elif kind == "angular":
        refuse(s.get("angular_weight") is None, "has no sum with N-pair")
        loss = losses.AngularLoss(alpha=s.get("degrees", 45.0))
        if not s.get("all_pairs", False):
            a, p = x["pairs"].unbind(1)
            ids = torch.arange(len(a))
            # Labels that are the same tensor would be those of the same items.
            return lambda e: loss(e[a], ids, ref_emb=e[p], ref_labels=ids.clone()), None
    elif kind == "sup-con":
        refuse(not s.get("lonely_counted", False), "leaves items without a positive out")
        refuse(s.get("scale", 1.0) == 1.0, "has no such factor")
        loss = losses.SupConLoss(temperature=s.get("temperature", 0.1))
    elif kind == "info-nce":
        loss = losses.NTXentLoss(temperature=s.get("temperature", 0.07))
    elif kind in ("proxy-nca", "proxy-nca-pp"):
        if kind == "proxy-nca":
            a, b = s.get("embedding_length", 3.0), s.get("proxy_length", 3.0)
            refuse(s.get("positive_in_sum", False), "has the own proxy in the sum")
            refuse(not s.get("smoothing", 0.0), "has no smoothing")
            scale = a * b
        else:
            scale = 1 / s.get("temperature", 1 / 9)
        loss = with_parameter(losses.ProxyNCALoss(**shape, softmax_scale=scale), "proxies", proxies)
    elif kind == "proxy-anchor":
        loss = losses.ProxyAnchorLoss(**shape, margin=s.get("delta", 0.1), alpha=s.get("alpha", 32.0))
        with_parameter(loss, "proxies", proxies)
    elif kind == "soft-triple":
        refuse(not s.get("tau", 0.2), "has no regulariser of the centres")
        la, gamma, delta = s.get("la", 20.0), s.get("gamma", 0.1), s.get("delta", 0.01)
        centres = proxies.shape[1]
        loss = losses.SoftTripleLoss(**shape, centers_per_class=centres, la=la, gamma=gamma, margin=delta)
        with_parameter(loss, "fc", proxies.flatten(0, 1).t().contiguous())
    elif kind == "norm-softmax":
        loss = losses.NormalizedSoftmaxLoss(**shape, temperature=s.get("temperature", 0.05))
        with_parameter(loss, "W", proxies.t().contiguous())
    elif kind == "sphere-face":
        refuse(s.get("lambda", 5.0) == 0, "has no annealing, lambda is 0")
        loss = with_parameter(losses.SphereFaceLoss(**shape, margin=s.get("m", 4)), "W", proxies.t().contiguous())
    elif kind == "cos-face":
        loss = losses.CosFaceLoss(**shape, margin=s.get("m", 0.35), scale=s.get("s", 64.0))
        with_parameter(loss, "W", proxies.t().contiguous())
    elif kind == "arc-face":
        refuse(s.get("fallback", True) and not s.get("straight_through", False), "always has the fallback")
        loss = losses.ArcFaceLoss(**shape, margin=math.degrees(s.get("m", 0.5)), scale=s.get("s", 64.0))
        with_parameter(loss, "W", proxies.t().contiguous())
    elif kind == "xbm":
        refuse(s.get("subtract_margin", False), "adds s - m, not s")
        base = losses.ContrastiveLoss(
            pos_margin=1.0,
            neg_margin=s.get("margin", 0.5),
            distance=dist.CosineSimilarity(),
            reducer=reducers.SumReducer(),
        )
        memory = losses.CrossBatchMemory(base, dim, memory_size=len(x["memory"]))
        memory.embedding_memory, memory.label_memory = x["memory"].clone(), x["memory_labels"].clone()
        memory.has_been_filled = True
        weight = s.get("memory_weight", 1.0)

        def step(e):
            memory.queue_idx = s.get("pointer", 0)
            return (base(e, y) + weight * memory(e, y)) / len(e)

        return step, None
    else:
        refuse(False, "does not have this loss")
    leaf = next(iter(loss.parameters()), None)
    return lambda e: loss(e, y, mine(e, y) if mine else None), leaf


# Running.


def run(parts, e, leaves=()):
    """The value of a loss, given whole or in parts, and its gradients by `e` and the leaves."""
    total = 0.0
    for part in [parts] if torch.is_tensor(parts) else parts:
        if part.requires_grad:
            part.backward()
        total += part.item()
    return total, [torch.zeros_like(t) if t.grad is None else t.grad for t in (e, *leaves)]


def bytes_needed(way, kind, y, s, dim, x):
    """About the peak of what a step allocates."""
    n = len(y)
    counts = torch.unique(y, return_counts=True)[1].double()
    near = (counts * (counts - 1)).sum().item()
    far = n * n - (counts * counts).sum().item()
    triplets = (counts * (counts - 1) * (n - counts)).sum().item()
    proxies = x["proxies"].numel() / dim if "proxies" in x else 0
    square = 4.0 * n * n
    if "proxies" in x:
        return 4.0 * proxies * (n * 12 + dim * 6)
    if kind == "xbm":
        return 4.0 * n * len(x["memory"]) * (8 if way == "formula" else 24)
    if kind == "hard-negative-mixing":
        return 4.0 * n * (len(x["queue"]) * 4 + (x["mix_first"].shape[1] + 256) * dim * 4)
    if "pairs" in x and not (kind == "angular" and s.get("all_pairs")):
        return 4.0 * len(x["pairs"]) ** 2 * 16
    if way == "layout":
        # All matrices of the bins at once, or a few blocks.
        return square * (s.get("bins", 10) + 1) * 3 if kind == "fast-ap" else 4 * max(LAYOUT_BYTES, 4 * square)
    if way == "formula":
        # Measured, in matrices of all pairs; where there are none, a few blocks.
        matrices = {"contrastive": 18, "metrix": 18, "multi-similarity": 18, "triplet": 16, "lifted": 15}
        matrices |= {"histogram": 14, "sup-con": 10, "info-nce": 10, "angular": 2}
        return 8 * BLOCK_BYTES + square * matrices.get(kind, 0)
    if kind in ("info-nce", "lifted"):
        return near * far * (17 if kind == "info-nce" else 22)
    if kind == "angular":
        return near * n * 48
    if kind == "fast-ap":
        return square * (s.get("bins", 10) + 1) * 8
    if kind == "histogram" or kind == "triplet" and s.get("mining") != "batch_hard":
        # One byte a triple while their number can be indexed.
        cube = 2 * float(n) ** 3 if n**3 < 2**31 else 0.0
        return cube + triplets * (160 if kind == "histogram" else 80)
    return square * 20


def read(path, dtype):
    count = path.stat().st_size // dtype.itemsize
    return torch.from_file(str(path), size=count, dtype=dtype)


def load(folder):
    case = json.loads((folder / "case.json").read_text())
    n, dim = case["n"], case["dim"]
    e = read(folder / "embeddings.f32", torch.float32).view(n, dim)
    y = read(folder / "labels.i64", torch.int64)
    x = {}
    shapes = {
        "proxies.f32": (case.get("classes", 0), dim),
        "triplets.i64": (-1, 3),
        "pairs.i64": (-1, 2),
        "memory.f32": (-1, dim),
        "memory_labels.i64": (-1,),
        "keys.f32": (n, dim),
        "queue.f32": (-1, dim),
        "mix_first.i64": (n, -1),
        "mix_second.i64": (n, -1),
        "mix_alpha.f32": (n, -1),
        "query_pick.i64": (n, -1),
        "query_alpha.f32": (n, -1),
        "permutation.i64": (-1,),
        "lam.f32": (-1,),
        "beta.f32": (-1,),
    }
    for name, shape in shapes.items():
        path = folder / name
        if path.exists():
            values = read(path, torch.int64 if path.suffix == ".i64" else torch.float32)
            if name == "proxies.f32" and case["kind"] == "soft-triple":
                shape = case["classes"], -1, dim
            x[path.stem] = values.view(shape)
    s = case.get("settings", {})
    if "mining" in s:
        s["mining"] = s["mining"].replace("-", "_")
    if s.get("epsilon", 0.1) is False:
        s["epsilon"] = None
    return case["kind"], s, e, y, x


def peak_mb():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return None


def measure(folder, way, repeat):
    kind, s, e, y, x = load(folder)
    if kind not in FORMULAS:
        raise Skipped(f"no such loss: {kind}")
    if way == "layout" and kind not in LAYOUTS:
        raise Skipped("no other layout than the formula's")
    if way == "layout" and kind == "smooth-ap" and len(y) ** 3 > 2e10:
        # Measured: about 10 ns for a comparison, forward and backward.
        raise Skipped(f"would take about {len(y) ** 3 * 1e-8 / 60:.0f} minutes")
    if way == "pml":
        # Without the library this says so before anything is allocated.
        import pytorch_metric_learning
    imported = peak_mb()
    needed = bytes_needed(way, kind, y, s, e.shape[1], x)
    if needed > 16e9:
        raise Skipped(f"would need about {needed / 1e9:.0f} GB")
    e.requires_grad_()
    leaves = [x[name].requires_grad_() for name in ("proxies", "beta", "keys") if name in x]
    version = f"PyTorch {torch.__version__}"
    if way == "pml":
        loss, leaf = pml(kind, y, s, {k: v.detach() for k, v in x.items()}, e.shape[1])
        leaves = [] if leaf is None else [leaf]
        version += f", pytorch-metric-learning {pytorch_metric_learning.__version__}"

        def step():
            return run(loss(e), e, leaves)
    else:

        formula = (LAYOUTS if way == "layout" else FORMULAS)[kind]

        def step():
            return run(formula(e, y, s, x), e, leaves)

    def timed():
        for leaf in (e, *leaves):
            leaf.grad = None
        start = time.perf_counter()
        result = step()
        return time.perf_counter() - start, result

    begin, times = time.perf_counter(), []
    _, (value, grads) = timed()
    slope, rows = grads[0].double(), e.detach().double()
    norm = slope.norm().item()
    # What normalises has no gradient along the rows, and on rows of length 1 may differ in nothing else.
    tangent = (slope - (slope * rows).sum(1, keepdim=True) / rows.square().sum(1, keepdim=True) * rows).norm().item()
    while len(times) < repeat and (not times or time.perf_counter() - begin < 60):
        times.append(timed()[0])
    return {
        "seconds": statistics.median(times),
        "range": [min(times), max(times)],
        "loss": value,
        "grad_norm": norm,
        "tangent_grad_norm": tangent,
        "peak_mb": peak_mb(),
        "import_mb": imported,
        "version": version,
    }


# Checking.


def cases(folder):
    """All variants of the reference files: a label, a kind, embeddings, labels, settings, other inputs and results."""
    from safetensors import safe_open

    for path in sorted(folder.glob("rival_*.safetensors")):
        rival = path.stem.removeprefix("rival_")
        with safe_open(path, "pt") as file:
            t = {key: file.get_tensor(key) for key in file.keys()}
            meta = {key: json.loads(value) for key, value in file.metadata().items()}
        for variant in sorted(key.removeprefix("loss.") for key in t if key.startswith("loss.")):
            m = meta[variant]
            prefix = {"balanced_embeddings": "balanced_", "long_embeddings, long_pairs": "long_"}
            prefix = prefix.get(m.get("input", "").split(";")[0], "")
            e, y = t.get(prefix + "embeddings"), t.get(prefix + "labels")
            s, x, kind = dict(m), {}, rival.replace("_", "-")
            if "lam" in m and kind != "metrix":
                s["lambda"] = m["lam"]
            for name in ("proxies", "triplets", "weight", "permutation", "keys", "queue", "hardest"):
                if name in t:
                    x[name] = t[name]
            if rival == "smooth_ap":
                s["lonely_counted"] = "lonely" in m
            elif rival == "blackbox":
                kind = "blackbox-" + m["metric"]
                if m.get("noise"):
                    # From lists without the query to whole rows.
                    noise = torch.zeros(len(e), len(e), dtype=e.dtype)
                    noise[~torch.eye(len(e), dtype=torch.bool)] = t["noise"].abs().flatten()
                    x["noise"] = noise
                if m.get("count_factor", "1") != "1":
                    s["count_factor"] = len(e) / (len(e) - 1)
                else:
                    s.pop("count_factor", None)
            elif rival == "contrastive":
                s["form"] = variant.split("_")[0]
            elif rival == "triplet":
                s["mining"] = variant.removesuffix("_euclidean").removesuffix("_soft")
                s["distance"] = "squared" if m["distance"].startswith("squared") else "euclidean"
            elif rival == "margin":
                x["beta"] = t["class_beta"] if m["beta"] == "class_beta" else torch.tensor(m["beta"], dtype=e.dtype)
            elif rival in ("n_pair", "symmetrical_synthesis"):
                x["pairs"] = t["pairs"]
            elif rival == "lifted":
                s["generalised"] = "generalised" in variant
            elif rival == "angular":
                x["pairs"], s["all_pairs"] = t[prefix + "pairs"], "all_pairs" in variant
            elif rival == "sup_con":
                kind = "info-nce" if variant.startswith("infonce") else kind
                s["lonely_counted"] = "counted" in m.get("lonely", "")
                s["scale"] = m["temperature"] / m["base_temperature"] if "base_temperature" in m else 1.0
            elif rival == "proxy_nca_pp":
                s["temperature"] = 1 / m["embedding_length"] ** 2
            elif rival == "soft_triple":
                x["proxies"] = t["centres"]
            elif rival == "metrix":
                x["triplets"], x["lam"] = t["triples"], t[m["lam"]]
                s["base_loss"] = "contrastive" if "contrastive" in variant else "multi_similarity"
                s.setdefault("weight", None)
            elif rival == "mixup":
                e, s["at"] = t["inputs"], variant
            elif rival == "proxy_synthesis":
                s["base_loss"] = "proxy_nca" if "proxy_nca" in variant else "norm_softmax"
            elif rival == "hard_negative_mixing":
                names = ["mix_first", "mix_second", "mix_alpha"]
                names += ["query_pick", "query_alpha"] if variant.startswith("both") else []
                x |= {name: t[name] for name in names}
            elif rival == "xbm":
                step = int(variant.split("step")[1])
                e, y = t["embeddings"][step], t["labels"][step]
            end = "." + variant
            results = {key.removesuffix(end): value for key, value in t.items() if key.endswith(end)}
            yield f"{rival} {variant}", kind, e, y, s, x, results, t, meta


LEAVES = {
    "grad_proxies": "proxies",
    "grad_centres": "proxies",
    "grad_beta": "beta",
    "grad_class_beta": "beta",
    "grad_keys": "keys",
    "grad_weight": "weight",
}


def off(ours, theirs):
    return ((ours - theirs).norm() / theirs.norm().clamp(min=1e-300)).item()


def check(folder):
    failed = agreed = 0
    rings = {}
    print(f"{'variant':52} {'loss':>9} {'gradient':>9} {'others':>9}   {'PML loss':>9} {'gradient':>9} {'others':>9}")
    for name, kind, e, y, s, x, results, t, meta in cases(folder):
        e = e.clone().requires_grad_()
        names = {key: LEAVES[key] for key in results if key in LEAVES and LEAVES[key] in x}
        x |= {leaf: x[leaf].clone().requires_grad_() for leaf in set(names.values())}
        leaves = [x[leaf] for leaf in names.values()]
        if kind == "xbm":
            policy = name.split()[1].split(".")[0]
            if policy not in rings:
                size = meta["batches"]["memory"]
                labels = torch.full((size,), -1)
                rings[policy] = Ring(torch.zeros(size, e.shape[1], dtype=e.dtype), labels, tail=policy == "tail")
            ring = rings[policy]
            before = ring.memory.clone(), ring.labels.clone(), ring.pointer
            slots = ring.enqueue(e, y)
            same = torch.equal(slots, results["own_slots"]) and torch.equal(ring.labels, results["memory_labels"])
            if not same or ring.pointer != meta[name.split()[1]]["pointer_after"]:
                print(f"{name}: the memory differs")
                failed += 1
            batch, memory = xbm_terms(e, y, s, ring, slots)
            value, grads = run(batch + memory, e)
        else:
            value, grads = run(FORMULAS[kind](e, y, s, x), e, leaves)
            if kind in LAYOUTS:
                f = e.detach().clone().requires_grad_()
                laid_out, slopes = run(LAYOUTS[kind](f, y, s, x), f)
                if abs(laid_out / value - 1) > 1e-9 or off(slopes[0], grads[0]) > 1e-9:
                    print(f"{name}: another loss by the layout of the authors")
                    failed += 1
        expected = results["loss"].item()
        gradient = results.get("grad", results.get("grad_inputs"))
        errors = [abs(value / expected - 1), off(grads[0], gradient)]
        others = [off(g, results[key]) for g, key in zip(grads[1:], names)]
        errors.append(max(others, default=0.0))
        bad = not all(error < 1e-9 for error in errors)
        line = f"{name:52} " + " ".join(f"{error:9.1e}" for error in errors) + ("  WRONG" if bad else "  ")

        def by_library():
            ready = {key: value.detach().clone() for key, value in x.items()}
            settings, expect = s, expected
            if kind == "xbm":
                if policy == "tail" or (ring.labels < 0).any():
                    raise Skipped("has no such memory" if policy == "tail" else "memory not full yet")
                ready |= {"memory": before[0], "memory_labels": before[1]}
                settings = {"pointer": before[2], "margin": meta["batches"]["margin"], "subtract_margin": True}
                expect = sum(xbm_terms(e, y, settings, ring, slots)).item()
            elif kind == "contrastive" and s["form"] == "cosine":
                # It subtracts the margin, which changes the value and no gradient.
                settings = {**s, "subtract_margin": True}
                expect = contrastive(e, y, settings, x).item()
            f = e.detach().clone().requires_grad_()
            loss, leaf = pml(kind, y, settings, ready, e.shape[1])
            value, grads = run(loss(f), f, [] if leaf is None else [leaf])

            def tangent(g):
                return g - (g * f).sum(1, keepdim=True) / f.square().sum(1, keepdim=True) * f

            # What the library normalises, it has no gradient along of.
            whole = kind in ("n-pair", "lifted", "sphere-face")
            pair = (grads[0], gradient) if whole else (tangent(grads[0]), tangent(gradient))
            errors = [abs(value / expect - 1), off(*pair)]
            others = [0.0]
            for g, key in zip(grads[1:], names):
                theirs = results[key]
                if kind == "soft-triple":
                    g = g.t()
                elif g.shape != theirs.shape and g.dim() == 2:
                    g = g.t()
                others.append(off(g.reshape(theirs.shape), theirs))
            return [*errors, max(others)]

        try:
            errors = by_library()
            # It has no 1e-8 under the root of margin, and places of nodes in single precision.
            limit = {"margin": 1e-7, "histogram": 1e-5}.get(kind, 1e-9)
            wrong = not all(error < limit for error in errors)
            line += " " + " ".join(f"{error:9.1e}" for error in errors) + ("  WRONG" if wrong else "")
            bad |= wrong
        except Skipped as reason:
            line += f" - {str(reason).removeprefix('pytorch-metric-learning ')}"
        except ImportError:
            line += " - not installed"
        print(line)
        failed += bad
        agreed += not bad
    print(f"{agreed} variants agree, {failed} do not")
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--way", choices=["formula", "layout", "pml"], default="formula")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--check", type=Path, metavar="REFERENCE_FOLDER")
    args = parser.parse_args()
    if args.check:
        torch.set_num_threads(args.threads)
        sys.exit(1 if check(args.check) else 0)
    if args.folder is None:
        parser.error("a folder with a case, or --check")
    # Sigmoids far out are denormal numbers, with which a processor is slow. Set before there are any
    # threads, all of them inherit it.
    torch.set_flush_denormal(True)
    torch.set_num_threads(args.threads)
    try:
        result = measure(args.folder, args.way, args.repeat)
    except Skipped as reason:
        result = {"skipped": str(reason)}
    except ImportError:
        result = {"skipped": "pytorch-metric-learning is not installed"}
    except (RuntimeError, MemoryError) as error:
        if "memory" not in str(error).lower() and not isinstance(error, MemoryError):
            raise
        result = {"skipped": "out of memory"}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
