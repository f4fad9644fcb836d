"""A network forward and in a two-pass step with loss and optimiser with PyTorch, to compare `cargo xtask bench models` with.

    models.py '{"backbone": "resnet50", "side": 224, "batch": 64, "chunk": 8, "threads": 2}'

Prints one line of JSON with the seconds of both and the peak memory.
"""

import json
import resource
import sys
import time

import torch
from torch import nn


class ConvNet(nn.Module):
    """The default embedder: widths 64, 128, 256, a grid of 4 x 4, 128 numbers."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 64, 4, 2, 1, bias=False),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 128, 3, 1, 1, bias=False),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(128, 256, 3, 1, 1, bias=False),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.LayerNorm(4096),
            nn.Linear(4096, 128),
        )

    def forward(self, images):
        return nn.functional.normalize(self.body(images))


class Pretrained(nn.Module):
    """A published backbone with the head of the paper."""

    def __init__(self, name):
        super().__init__()
        self.gem = name == "resnet50"
        if self.gem:
            import torchvision

            net = torchvision.models.resnet50()
            self.backbone = nn.Sequential(*list(net.children())[:-2])
            self.p = nn.Parameter(torch.ones(1) * 3)
            features = 2048
        else:
            import timm

            names = {
                "vit-s16": "vit_small_patch16_224",
                "vit-b32": "vit_base_patch32_224",
                "vit-b16": "vit_base_patch16_224",
            }
            self.backbone = timm.create_model(names[name], num_classes=0)
            features = self.backbone.num_features
        self.head = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, 512))

    def forward(self, images):
        x = self.backbone(images)
        if self.gem:
            x = x.clamp(min=1e-6).pow(self.p).mean((2, 3)).pow(1 / self.p)
        return nn.functional.normalize(self.head(x))


def loss(embeddings):
    """The Recall@k surrogate for classes of four, one behind the other, as one tensor of all comparisons."""
    n = len(embeddings)
    similarity = embeddings @ embeddings.T
    items = torch.arange(n)
    positives = items[:, None] // 4 * 4 + (items[:, None] % 4 + torch.tensor([1, 2, 3])) % 4
    of_positives = similarity.gather(1, positives)
    above = torch.sigmoid((similarity[:, None, :] - of_positives[:, :, None]) / 0.01)
    # Neither the query itself nor the positive (half a comparison) stands above it.
    own = torch.sigmoid((similarity.diagonal()[:, None] - of_positives) / 0.01)
    ranks = 1 + above.sum(2) - own - 0.5
    total = 0.0
    for k in (1, 2, 4, 8, 16):
        total = total + 1 - torch.sigmoid(k - ranks).sum(1).clamp(max=k) / min(k, 3)
    return total.mean() / 5


def main(case):
    torch.set_num_threads(case["threads"])
    side, batch, chunk = case["side"], case["batch"], case["chunk"]
    model = ConvNet() if case["backbone"] == "convnet" else Pretrained(case["backbone"])
    # Frozen batch-norm statistics, trained affine maps.
    model.eval()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    pixels = (torch.arange(batch * 3 * side * side) * 31 % 251).to(torch.uint8).reshape(batch, 3, side, side)
    layout = torch.contiguous_format

    def images(first):
        return (pixels[first : first + chunk].float() / 127.5 - 1).contiguous(memory_format=layout)

    def forward(end=batch):
        with torch.no_grad():
            return [model(images(first)) for first in range(0, end, chunk)]

    def step():
        # The last chunk keeps its graph, which saves its second forward pass.
        last = (batch - 1) // chunk * chunk
        kept = model(images(last))
        embeddings = torch.cat([*forward(last), kept.detach()]).requires_grad_()
        loss(embeddings).backward()
        (kept * embeddings.grad[last:]).sum().backward()
        for first in range(0, last, chunk):
            (model(images(first)) * embeddings.grad[first : first + chunk]).sum().backward()
        optimiser.step()
        optimiser.zero_grad()

    def seconds(what):
        start = time.perf_counter()
        what()
        return time.perf_counter() - start

    # In which order of the channels it is faster differs from network to network.
    layouts = [torch.contiguous_format]
    if not case["backbone"].startswith("vit"):
        layouts.append(torch.channels_last)

    def of_layout(which):
        nonlocal layout
        layout = which
        model.to(memory_format=layout)
        return seconds(lambda: model(images(0)).sum().backward())

    fastest = min(layouts, key=lambda which: min(of_layout(which) for _ in range(2)))
    of_layout(fastest)
    optimiser.zero_grad()

    forward(chunk)
    forward_seconds = seconds(forward)
    step()
    step_seconds = seconds(step)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"forward_seconds": forward_seconds, "step_seconds": step_seconds, "peak_bytes": peak}))


main(json.loads(sys.argv[1]))
