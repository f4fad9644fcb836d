"""A step of a linear head on rows of features in PyTorch, the whole set as one batch, to compare
`cargo xtask bench features` with.

    features.py FOLDER --way autograd|formula [--threads N]

FOLDER holds a case as `cargo xtask bench features` writes it: case.json, features.f32,
head.safetensors, and loss.py, whose losses are taken. Prints one line of JSON.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

import loss as losses


class Batch(losses.Case):
    """The embeddings of a step. Classes take turns in the rows, which is the order that the losses want."""

    def __init__(self, rows, class_size):
        self.tau_rank, self.tau_k = 0.01, 1.0
        self.ks = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
        self.size = self.slots = class_size
        self.classes, self.items = rows // class_size, rows
        self.pairs, self.alpha, self.real = [], None, None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--way", choices=["autograd", "formula"], default="formula")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    # Sigmoids far out are denormal numbers, with which a processor is slow. Set before there are any
    # threads, all of them inherit it.
    torch.set_flush_denormal(True)
    torch.set_num_threads(args.threads)
    case = json.loads((args.folder / "case.json").read_text())
    n, dim, out = case["rows"], case["dim"], case["out_dim"]

    # Standardised once, which with a mean of 0 and a scale of 1 is nothing to do.
    features = losses.read(args.folder / "features.f32", torch.float32).view(n, dim)
    start = safetensors.torch.load_file(args.folder / "head.safetensors")
    head = nn.Linear(dim, out)
    head.load_state_dict({name: start[f"linear.{name}"] for name in ("weight", "bias")})
    # A rate of 0 leaves the weights as they are: every repetition is the same step.
    optimiser = torch.optim.AdamW(head.parameters(), lr=0.0, weight_decay=4e-4, fused=True)

    batch = Batch(n, case["class_size"])
    # What a comparison reads and writes again and again should stay in the cache.
    inner = max(1, min(int(6e6 / (4 * (batch.slots - 1) * n)), 512))
    batch.real = torch.empty(n, out)
    if args.way == "autograd":
        objective = losses.Autograd(batch, max(inner, 64), False)
    else:
        objective = losses.Formula(batch, inner * max(1, 512 // inner), inner, False)

    def step():
        embeddings = nn.functional.normalize(head(features))
        batch.real = embeddings.detach()
        value, slope = objective.value_and_grad()
        embeddings.backward(slope)
        norm = torch.cat([p.grad.double().flatten() for p in head.parameters()]).norm()
        optimiser.step()
        optimiser.zero_grad()
        return value.item(), norm.item()

    def timed():
        start = time.perf_counter()
        step()
        return time.perf_counter() - start

    step()
    value, norm = step()
    peak = losses.peak_mb("cpu")
    print(
        json.dumps(
            {
                "step_seconds": statistics.median(timed() for _ in range(case["repeats"])),
                "loss": value,
                "grad_norm": norm,
                "peak_mb": peak,
            }
        )
    )


if __name__ == "__main__":
    main()
