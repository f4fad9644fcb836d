"""The Recall@k surrogate and its gradient in PyTorch, to compare `cargo xtask bench loss` with.

Two ways. `autograd` is what one writes: vectorised, blocks of queries, the gradient by autograd,
virtual items as embeddings. `formula` is written to be as fast as tensor operations allow: the
gradient by the chain rule, buffers used again, blocks small enough for the cache, virtual
similarities mixed from real ones. Neither loops over queries. Only for classes of one size, which
makes everything regular: items are ordered slot by slot, item `t` of class `c` at
`t * classes + c`, so that a mixture of two slots is one operation on contiguous numbers.

    loss.py FOLDER --way autograd|formula [--threads N] [--device cuda] [--compile]

FOLDER holds a case as `cargo xtask bench loss` writes it: case.json, embeddings.f32, labels.i64 and,
with SiMix, first.i64, second.i64 and alpha.f32. Prints one line of JSON.
"""

import argparse
import json
import statistics
import sys
import time
from itertools import combinations
from pathlib import Path

import torch

EXCLUDED = -1e30
"""The scaled similarity of a query to itself: no item, to any comparison."""


class Case:
    """One batch, its items in the order that the computation wants."""

    def __init__(self, folder, device):
        settings = json.loads((folder / "case.json").read_text())
        n, d, size = settings["items"], settings["dim"], settings["class_size"]
        self.tau_rank = settings["tau_rank"]
        self.tau_k = settings["tau_k"]
        self.ks = torch.tensor([float(min(k, n)) for k in settings["ks"]], device=device)

        labels = read(folder / "labels.i64", torch.int64)
        rows = torch.argsort(labels, stable=True)
        self.classes = n // size
        if n % size or (torch.bincount(labels) != size).any():
            sys.exit("classes differ in size")
        rows = rows.view(self.classes, size)
        embeddings = read(folder / "embeddings.f32", torch.float32).view(n, d)
        self.real = embeddings[rows.t().reshape(-1)].to(device)
        self.size = size

        self.pairs, self.alpha = [], None
        if settings["mixup"]:
            self.pairs = list(combinations(range(size), 2))
            for name, end in ("first", 0), ("second", 1):
                ends = read(folder / f"{name}.i64", torch.int64).view(self.classes, -1)
                if (ends != rows[:, [pair[end] for pair in self.pairs]]).any():
                    sys.exit("the mixup is not all pairs of each class")
            alpha = read(folder / "alpha.f32", torch.float32)
            self.alpha = alpha.view(self.classes, -1).t().contiguous().to(device)
        self.slots = size + len(self.pairs)
        self.items = self.slots * self.classes

    def positives(self, items):
        """The other items of each item's class: `[b]` to `[b, slots - 1]`."""
        others = torch.arange(self.slots - 1, device=items.device)
        others = others + (others >= (items // self.classes).unsqueeze(1))
        return others * self.classes + (items % self.classes).unsqueeze(1)

    def expand(self, real, out):
        """Mixes along the second of three dimensions: `[a, size, classes]` to `[a, slots, classes]`."""
        out[:, : self.size] = real
        for pair, (first, second) in enumerate(self.pairs):
            torch.lerp(
                real[:, second], real[:, first], self.alpha[pair], out=out[:, self.size + pair]
            )

    def collapse_(self, slope):
        """The transpose of `expand`, into the first `size` slots of its argument."""
        for pair, (first, second) in enumerate(self.pairs):
            mixed = slope[:, self.size + pair]
            slope[:, second] += mixed
            mixed *= self.alpha[pair]
            slope[:, first] += mixed
            slope[:, second] -= mixed


def read(path, dtype):
    count = path.stat().st_size // dtype.itemsize
    return torch.from_file(str(path), size=count, dtype=dtype)


def recall_and_slope(ranks, ks, tau_k):
    """Soft recall of each query and its derivative by the ranks: `[b, p]` to `[b]` and `[b, p]`."""
    within = torch.sigmoid((ks - ranks.unsqueeze(2)) * (1 / tau_k))
    count = within.sum(1)
    share = 1 / (ks.clamp(max=ranks.shape[1]) * len(ks))
    recall = torch.minimum(count, ks) @ share
    weight = torch.where(count > ks, 0.0, share * (-1 / tau_k))
    slope = (within * (1 - within) * weight.unsqueeze(1)).sum(2)
    return recall, slope


def compare_eager(scaled, own, positives, slope, buffer, ks, tau_k):
    """Similarities of some queries, over tau_rank, to their recall and its slope by those."""
    rows, width = positives.shape
    scaled.scatter_(1, own, EXCLUDED)
    precedes = buffer[:rows]
    torch.sub(scaled.unsqueeze(1), scaled.gather(1, positives).unsqueeze(2), out=precedes)
    precedes.sigmoid_()
    # A positive against itself is no comparison.
    precedes.scatter_(2, positives.unsqueeze(2), 0.0)
    ranks = precedes.sum(2) + 1
    recall, by_rank = recall_and_slope(ranks, ks, tau_k)
    torch.ops.aten.sigmoid_backward.grad_input(
        by_rank.unsqueeze(2).expand_as(precedes), precedes, grad_input=precedes
    )
    torch.sum(precedes, 1, out=slope)
    slope.scatter_add_(1, positives, -precedes.sum(2))
    return recall


def compare_functional(scaled, own, positives, ks, tau_k):
    """The same without a buffer, for a compiler that fuses it."""
    columns = torch.arange(scaled.shape[1], device=scaled.device)
    positive = scaled.gather(1, positives).unsqueeze(2)
    others = (columns != positives.unsqueeze(2)) & (columns != own).unsqueeze(1)
    precedes = torch.where(others, torch.sigmoid(scaled.unsqueeze(1) - positive), 0.0)
    recall, by_rank = recall_and_slope(precedes.sum(2) + 1, ks, tau_k)
    steps = precedes * (1 - precedes) * by_rank.unsqueeze(2)
    return recall, steps.sum(1), -steps.sum(2)


class Formula:
    """Value and gradient of one case, with its buffers."""

    def __init__(self, case, block, inner, compiled):
        device = case.real.device
        self.case, self.block, self.inner = case, min(block, case.items), min(inner, block)
        n, width = case.real.shape[0], case.slots - 1
        self.compiled = torch.compile(compare_functional) if compiled else None
        self.scaled = torch.empty(self.block, case.items, device=device)
        self.slope = torch.empty(self.block, case.items, device=device)
        self.products = torch.empty(self.block, n, device=device) if case.pairs else None
        if not compiled:
            self.buffer = torch.empty(self.inner, width, case.items, device=device)

    def similarities(self, queries):
        """`[b, d]` to `[b, items]`, over tau_rank."""
        case, rows = self.case, queries.shape[0]
        scaled = self.scaled[:rows]
        product = self.products[:rows] if case.pairs else scaled
        torch.addmm(
            product, queries, case.real.t(), beta=0, alpha=1 / case.tau_rank, out=product
        )
        if case.pairs:
            case.expand(
                product.view(rows, case.size, -1), scaled.view(rows, case.slots, -1)
            )
        return scaled

    def compare(self, scaled, items):
        """Recall of the queries `items`; leaves its slope in `self.slope`."""
        case, slope = self.case, self.slope[: len(items)]
        own, positives = items.unsqueeze(1), case.positives(items)
        recalls = []
        for part in (slice(i, i + self.inner) for i in range(0, len(items), self.inner)):
            place = scaled[part], own[part], positives[part]
            if self.compiled:
                recall, slope[part], pull = self.compiled(*place, case.ks, case.tau_k)
                slope[part].scatter_add_(1, positives[part], pull)
            else:
                recall = compare_eager(
                    *place, slope[part], self.buffer, case.ks, case.tau_k
                )
            recalls.append(recall)
        return torch.cat(recalls)

    @torch.no_grad()
    def value_and_grad(self):
        case = self.case
        n, d = case.real.shape
        queries = case.real
        if case.pairs:
            queries = torch.empty(case.slots, case.classes, d, device=queries.device)
            case_real = case.real.view(case.size, case.classes, d)
            queries[: case.size] = case_real
            for pair, (first, second) in enumerate(case.pairs):
                weight = case.alpha[pair].unsqueeze(1)
                torch.lerp(
                    case_real[second], case_real[first], weight, out=queries[case.size + pair]
                )
            queries = queries.view(-1, d)
        on_queries = torch.empty_like(queries)
        grad = torch.zeros_like(case.real)
        recalls = []
        for start in range(0, case.items, self.block):
            items = torch.arange(
                start, min(start + self.block, case.items), device=queries.device
            )
            block = slice(start, start + len(items))
            recalls.append(self.compare(self.similarities(queries[block]), items))
            slope = self.slope[: len(items)]
            if case.pairs:
                case.collapse_(slope.view(len(items), case.slots, -1))
                slope = slope[:, :n]
            # A similarity pulls on both of its ends.
            torch.mm(slope, case.real, out=on_queries[block])
            grad.addmm_(slope.t(), queries[block])
        if case.pairs:
            mixed = on_queries.view(1, case.slots, case.classes, d)
            for pair, (first, second) in enumerate(case.pairs):
                weight = case.alpha[pair].unsqueeze(1)
                mixed[0, first].addcmul_(mixed[0, case.size + pair], weight)
                mixed[0, second].addcmul_(mixed[0, case.size + pair], 1 - weight)
        grad += on_queries[:n]
        grad *= -1 / (case.tau_rank * case.items)
        return 1 - torch.cat(recalls).double().mean(), grad


class Autograd:
    """Value and gradient of one case by autograd, a block of queries at a time."""

    def __init__(self, case, block, compiled):
        self.case, self.block = case, min(block, case.items)
        self.recall = torch.compile(self.recall_of) if compiled else self.recall_of

    def recall_of(self, queries, database, own, positives):
        """The sum of the recalls of some queries."""
        case = self.case
        similarities = (queries @ database.t()).scatter(1, own, EXCLUDED * case.tau_rank)
        positive = similarities.gather(1, positives).unsqueeze(2)
        precedes = torch.sigmoid((similarities.unsqueeze(1) - positive) / case.tau_rank)
        # A positive against itself is one half and no comparison.
        ranks = precedes.sum(2) + 0.5
        within = torch.sigmoid((case.ks - ranks.unsqueeze(2)) / case.tau_k).sum(1)
        recall = torch.minimum(within, case.ks) / case.ks.clamp(max=positives.shape[1])
        return recall.mean(1).sum()

    def value_and_grad(self):
        case = self.case
        real = case.real.detach().requires_grad_()
        items = real
        if case.pairs:
            slots = real.view(case.size, case.classes, -1)
            first, second = (slots[[pair[end] for pair in case.pairs]] for end in (0, 1))
            weight = case.alpha.unsqueeze(2)
            mixed = weight * first + (1 - weight) * second
            items = torch.cat([real, mixed.view(-1, real.shape[1])])
        # One graph for each block; their gradients meet at the items.
        leaf = items.detach().requires_grad_()
        total = 0.0
        for start in range(0, case.items, self.block):
            queries = torch.arange(
                start, min(start + self.block, case.items), device=leaf.device
            )
            recall = self.recall(
                leaf[queries], leaf, queries.unsqueeze(1), case.positives(queries)
            )
            (-recall / case.items).backward()
            total += recall.item()
        items.backward(leaf.grad)
        return torch.tensor(1 - total / case.items), real.grad


def unavoidable_products(real):
    """The similarities and what their gradient has to be multiplied with; by rows where large."""
    n = real.shape[0]
    rows = n if n <= 16_000 else 2_048
    for start in range(0, n, rows):
        torch.mm(torch.mm(real[start : start + rows], real.t()), real)


def timed(work, device, budget):
    """Best and median seconds after a warm-up, which counts itself if it took the whole budget."""

    def once():
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    warm = once()
    if warm > budget:
        return warm, warm
    times = [once() for _ in range(max(3, min(15, int(budget / warm))))]
    return min(times), statistics.median(times)


def peak_mb(device):
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--way", choices=["autograd", "formula"], default="formula")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--compile", action="store_true", help="fuse by torch.compile")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds of repetitions")
    parser.add_argument("--block", type=int, help="queries to a matrix product")
    parser.add_argument("--inner", type=int, help="queries compared at once")
    args = parser.parse_args()
    # Sigmoids far out are denormal numbers, with which a processor is slow. Set before there are any
    # threads, all of them inherit it.
    torch.set_flush_denormal(True)
    torch.set_num_threads(args.threads)
    imported = peak_mb("cpu")

    case = Case(args.folder, args.device)
    # What a comparison reads and writes again and again should stay in the cache of a processor; a
    # GPU rather wants few and large kernels.
    buffer_bytes = 6e6 if args.device == "cpu" else 512e6
    inner = int(buffer_bytes / (4 * (case.slots - 1) * case.items))
    inner = args.inner or max(1, min(inner, 512))
    if args.way == "autograd":
        loss = Autograd(case, args.block or max(inner, 64), args.compile)
    else:
        block = args.block or inner * max(1, 512 // inner)
        loss = Formula(case, block, inner, args.compile)
    value, grad = loss.value_and_grad()
    best, median = timed(loss.value_and_grad, args.device, args.budget)
    peak = peak_mb(args.device)
    del loss
    products, _ = timed(lambda: unavoidable_products(case.real), args.device, args.budget)
    print(
        json.dumps(
            {
                "seconds": best,
                "median_seconds": median,
                "loss": value.item(),
                "grad_norm": grad.double().norm().item(),
                "peak_mb": peak,
                "import_mb": imported,
                "matmul_seconds": products,
                "torch": torch.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
