"""Descriptors of images at several scales and of other shapes, by PyTorch and timm.

    python xtask/peers/scales.py crates/recall-engine/tests/fixtures

writes `scales.safetensors`, what crates/recall-engine/tests/engine/scales.rs and src/scales/tests.rs compare with.
Needs torch, torchvision, timm and safetensors. The recipe is that of cirtorch's `extract_ms` (Radenovic, Tolias and
Chum, TPAMI 2019): the standardised image is interpolated, each scale is embedded, and the embeddings are combined
by a generalised mean and brought to unit length. Weights and pixels come from a formula, see backbones.py.
"""

import pathlib
import sys

import timm
import torch
from backbones import DIM, Embedder, build, formula, published, weight
from safetensors.torch import save_file

MEAN = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).reshape(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).reshape(1, 3, 1, 1)
SCALES = [1, 2**-0.5, 0.5]


def images(count, height, width):
    """Bytes as a loader hands them out, standardised."""
    unit = (formula("bytes", (count, 3, height, width)) + 1) / 2
    return ((unit * 255).floor() / 255 - MEAN) / STD


def interpolated(x, scale):
    if scale == 1:
        return x
    return torch.nn.functional.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)


def combined(rows, power):
    mean = sum(row.pow(power) for row in rows) / len(rows)
    return torch.nn.functional.normalize(mean.pow(1 / power), dim=1)


def transformer(name, size):
    # Sides that are whole patches are not padded.
    backbone = timm.create_model(
        name, pretrained=False, img_size=size, num_classes=0, dynamic_img_size=True, dynamic_img_pad=True
    )
    model = Embedder(backbone, backbone.num_features, "cls", False).double().eval()
    state = model.state_dict()
    for key, value in state.items():
        state[key] = weight(published(key), tuple(value.shape)).float().double()
    model.load_state_dict(state)
    return model


@torch.no_grad()
def main(folder):
    out = {}
    resnet = build("resnet18", 64, "gem", True)
    for height, width in [(362, 500), (70, 45)]:
        x = images(2, height, width)
        rows = [resnet(interpolated(x, scale)) for scale in SCALES]
        out[f"resnet18.{height}x{width}"] = combined(rows, 1)
        out[f"resnet18.{height}x{width}.plain"] = rows[0]
    # An enlarged one.
    out["resnet18.70x45.large"] = combined([resnet(interpolated(x, s)) for s in [1, 2**0.5]], 1)
    for ours, theirs, size, shapes in [
        ("dinov2-s14", "vit_small_patch14_dinov2", 56, [(42, 70), (98, 56)]),
        ("dinov2-s14-reg4", "vit_small_patch14_reg4_dinov2", 56, [(42, 70), (364, 504)]),
        ("clip-b32", "vit_base_patch32_clip_224", 64, [(64, 96), (352, 512)]),
    ]:
        vit = transformer(theirs, size)
        for height, width in shapes:
            out[f"{ours}.{height}x{width}.plain"] = vit(images(2, height, width))
        # No whole patches, at any scale.
        height, width = shapes[0][0] + 3, shapes[0][1] + 9
        x = images(2, height, width)
        rows = [vit(interpolated(x, scale)) for scale in SCALES]
        out[f"{ours}.{height}x{width}.padded"] = combined(rows, 1)

    for scale in [2**-0.5, 0.5, 0.3, 2**0.5]:
        out[f"interpolated.{scale:.4f}"] = interpolated(formula("interpolated", (1, 3, 7, 10)), scale)
    # Non-negative, as embeddings are that come from GeM alone.
    rows = [(formula(f"rows {i}", (4, DIM)) + 1) / 2 for i in range(3)]
    rows = [torch.nn.functional.normalize(row.float().double(), dim=1) for row in rows]
    for power in [1.0, 2.92, 0.5]:
        out[f"combined.{power}"] = combined(rows, power)
    out = {k: v.float().contiguous() for k, v in out.items()}
    save_file(out, pathlib.Path(folder) / "scales.safetensors")


if __name__ == "__main__":
    main(*sys.argv[1:])
