"""Embeddings and gradients of torchvision's and timm's backbones with weights made by a formula.

    python xtask/peers/backbones.py crates/recall-engine/tests/fixtures

writes what crates/recall-engine/tests/engine/backbones.rs compares with. Needs torch, torchvision, timm, open_clip
and safetensors. Weights and pixels come from `formula`, which the test has too, so that no large file
is needed: a hash of the tensor's name and the number's index.
"""

import pathlib
import sys

import numpy as np
import open_clip
import timm
import torch
import torchvision
from safetensors.torch import save_file

DIM = 32


def formula(name, shape):
    """Numbers in [-1, 1) that depend on the name and the index alone."""
    hashed = 2166136261
    for byte in name.encode():
        hashed = (hashed ^ byte) * 16777619 % 2**32
    x = (np.arange(int(np.prod(shape)), dtype=np.uint64) * 2654435761 + hashed) % 2**32
    x ^= x >> np.uint64(16)
    x = x * 2246822507 % 2**32
    x ^= x >> np.uint64(13)
    x = x * 3266489909 % 2**32
    x ^= x >> np.uint64(16)
    return torch.tensor(x.astype(np.float64) / 2**31 - 1).reshape(shape)


def weight(name, shape):
    """A weight of a size that keeps activations in range, and different from what a layer starts with."""
    u = formula(name, shape)
    if name == "gem.p":
        return 3 + 0.5 * u
    if name.endswith("running_var"):
        return 1 + 0.5 * u
    if name.endswith("running_mean") or name.endswith("bias"):
        return 0.2 * u
    if name.endswith("gamma"):
        return 0.5 + 0.3 * u
    if name in ("cls_token", "reg_token", "pos_embed"):
        return 0.5 * u
    if len(shape) == 1:
        return 1 + 0.3 * u
    fan_in = int(np.prod(shape[1:]))
    return u * (3 / fan_in) ** 0.5


class Embedder(torch.nn.Module):
    def __init__(self, backbone, features, kind, whitening):
        super().__init__()
        self.backbone = backbone
        self.kind = kind
        self.embedding = torch.nn.ModuleDict({"linear": torch.nn.Linear(features, DIM)})
        if not whitening:
            self.embedding["norm"] = torch.nn.LayerNorm(features)
        if kind == "gem":
            self.gem = torch.nn.ParameterDict({"p": torch.nn.Parameter(torch.ones(1) * 3)})

    def forward(self, images):
        if self.kind == "gem":
            b = self.backbone
            x = b.maxpool(b.relu(b.bn1(b.conv1(images))))
            x = b.layer4(b.layer3(b.layer2(b.layer1(x))))
            p = self.gem["p"]
            pooled = x.clamp(min=1e-6).pow(p).mean((2, 3)).pow(1 / p)
        else:
            tokens = self.backbone.forward_features(images)
            pooled = tokens[:, 0] if self.kind == "cls" else tokens[:, self.backbone.num_prefix_tokens :].mean(1)
        if "norm" in self.embedding:
            normal = self.embedding["norm"](pooled)
        else:
            normal = torch.nn.functional.normalize(pooled, dim=1)
        x = self.embedding["linear"](normal)
        return torch.nn.functional.normalize(x, dim=1)


def published(name):
    return name.removeprefix("backbone.")


def build(name, size, kind, whitening):
    if name.startswith("resnet"):
        backbone = getattr(torchvision.models, name)()
        features = backbone.fc.in_features
        backbone.fc = torch.nn.Identity()
    else:
        backbone = timm.create_model(name, pretrained=False, img_size=size, num_classes=0)
        features = backbone.num_features
    model = Embedder(backbone, features, kind, whitening).double().eval()
    state = model.state_dict()
    for key, value in state.items():
        if value.dtype.is_floating_point:
            # In single precision, as the other side holds it.
            state[key] = weight(published(key), tuple(value.shape)).float().double()
    model.load_state_dict(state)
    return model


CASES = [
    ("resnet18", "resnet18", 64, "gem", "conv1.weight"),
    ("resnet18-whitening", "resnet18", 64, "gem", "conv1.weight"),
    ("resnet34", "resnet34", 64, "gem", "conv1.weight"),
    ("resnet50", "resnet50", 64, "gem", "conv1.weight"),
    ("resnet101", "resnet101", 64, "gem", "conv1.weight"),
    ("resnet152", "resnet152", 64, "gem", "conv1.weight"),
    ("vit-s16", "vit_small_patch16_224", 64, "mean", "patch_embed.proj.weight"),
    ("vit-b32", "vit_base_patch32_224", 64, "cls", "patch_embed.proj.weight"),
    ("vit-b16", "vit_base_patch16_224", 48, "cls", "patch_embed.proj.weight"),
    ("dinov2-s14", "vit_small_patch14_dinov2", 56, "cls", "patch_embed.proj.weight"),
    ("dinov2-b14", "vit_base_patch14_dinov2", 42, "cls", "patch_embed.proj.weight"),
    ("vit-l16", "vit_large_patch16_224", 48, "cls", "patch_embed.proj.weight"),
    ("dinov2-l14", "vit_large_patch14_dinov2", 42, "cls", "patch_embed.proj.weight"),
    ("dinov2-s14-reg4", "vit_small_patch14_reg4_dinov2", 56, "mean", "patch_embed.proj.weight"),
    ("dinov2-b14-reg4", "vit_base_patch14_reg4_dinov2", 42, "cls", "patch_embed.proj.weight"),
    ("dinov2-l14-reg4", "vit_large_patch14_reg4_dinov2", 42, "cls", "patch_embed.proj.weight"),
    ("clip-b32", "vit_base_patch32_clip_224", 64, "cls", "patch_embed.proj.weight"),
    ("clip-b16", "vit_base_patch16_clip_224", 48, "mean", "patch_embed.proj.weight"),
    ("clip-l14", "vit_large_patch14_clip_224", 42, "cls", "patch_embed.proj.weight"),
    ("clip-b32-quickgelu", "vit_base_patch32_clip_quickgelu_224", 64, "cls", "patch_embed.proj.weight"),
    ("clip-b16-quickgelu", "vit_base_patch16_clip_quickgelu_224", 48, "cls", "patch_embed.proj.weight"),
    ("clip-l14-quickgelu", "vit_large_patch14_clip_quickgelu_224", 42, "cls", "patch_embed.proj.weight"),
]

# timm's names of what open_clip names otherwise, before and within a block.
OPEN_CLIP = [
    ("visual.class_embedding", "cls_token"),
    ("visual.positional_embedding", "pos_embed"),
    ("visual.conv1.", "patch_embed.proj."),
    ("visual.ln_pre.", "norm_pre."),
    ("visual.ln_post.", "norm."),
    ("visual.transformer.resblocks.", "blocks."),
    (".ln_1.", ".norm1."),
    (".ln_2.", ".norm2."),
    (".attn.in_proj_", ".attn.qkv."),
    (".attn.out_proj.", ".attn.proj."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
]


@torch.no_grad()
def check_open_clip(model, name, pixels):
    """The tower of open_clip computes what timm's does with the same weights, so one fixture serves both."""
    theirs = open_clip.create_model(name, pretrained=None, force_image_size=pixels.shape[-1]).double().eval()
    theirs.visual.proj = None
    ours = model.backbone.state_dict()
    state = theirs.state_dict()
    for key in state:
        if key.startswith("visual."):
            timm_key = key
            for before, after in OPEN_CLIP:
                timm_key = timm_key.replace(before, after)
            state[key] = ours[timm_key].reshape(state[key].shape)
    theirs.load_state_dict(state)
    apart = (theirs.visual(pixels) - model.backbone.forward_features(pixels)[:, 0]).abs().max()
    print(f"open_clip {name}: {apart:.1e} apart")
    assert apart < 1e-9


class Cirtorch(torch.nn.Module):
    """A network as cirtorch builds and names it: the parts of a ResNet in a row, GeM, and a projection that whitens."""

    def __init__(self, resnet, features):
        super().__init__()
        self.features = torch.nn.Sequential(*list(resnet.children())[:-2])
        self.pool = torch.nn.ParameterDict({"p": torch.nn.Parameter(torch.ones(1) * 3)})
        self.whiten = torch.nn.Linear(features, DIM)

    def forward(self, images):
        def unit(x):
            return x / (x.norm(dim=1, keepdim=True) + 1e-6)

        p = self.pool["p"]
        return unit(self.whiten(unit(self.features(images).clamp(min=1e-6).pow(p).mean((2, 3)).pow(1 / p))))


# This project's names of what cirtorch names otherwise.
CIRTORCH = [
    ("features.0.", "backbone.conv1."),
    ("features.1.", "backbone.bn1."),
    ("features.4.", "backbone.layer1."),
    ("features.5.", "backbone.layer2."),
    ("features.6.", "backbone.layer3."),
    ("features.7.", "backbone.layer4."),
    ("pool.", "gem."),
    ("whiten.", "embedding.linear."),
]


@torch.no_grad()
def check_cirtorch(model, pixels):
    """cirtorch's network computes what the one with a projection that whitens does, so one fixture serves both."""
    theirs = Cirtorch(torchvision.models.resnet18(), 512).double().eval()
    ours = model.state_dict()
    state = theirs.state_dict()
    for key in state:
        ours_key = key
        for before, after in CIRTORCH:
            if key.startswith(before):
                ours_key = after + key.removeprefix(before)
        state[key] = ours[ours_key]
    theirs.load_state_dict(state)
    apart = (theirs(pixels) - model(pixels)).abs().max()
    print(f"cirtorch: {apart:.1e} apart")
    assert apart < 1e-5


def main(folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    out = {}
    for ours, theirs, size, kind, first in CASES:
        model = build(theirs, size, kind, ours.endswith("-whitening"))
        pixels = (1.5 * formula("pixels", (3, 3, size, size))).float().double()
        if ours in ("clip-b32", "clip-b32-quickgelu"):
            check_open_clip(model, "ViT-B-32" + ours.removeprefix("clip-b32"), pixels)
        if ours == "resnet18-whitening":
            check_cirtorch(model, pixels)
        embeddings = model(pixels)
        slope = formula("slope", tuple(embeddings.shape))
        (embeddings * slope).sum().backward()
        gradients = {published(k): p.grad for k, p in model.named_parameters()}
        out[f"{ours}.embeddings"] = embeddings.detach()
        for name in (first, "embedding.linear.weight"):
            values = gradients[name].flatten()
            # Every so manieth number, so that the file stays small.
            out[f"{ours}.grad.{name}"] = values[:: max(1, len(values) // 500)].clone()
        if kind == "gem":
            out[f"{ours}.grad.gem.p"] = gradients["gem.p"]
        print(ours, sum(p.numel() for p in model.parameters()))

    # Position embeddings as timm interpolates them.
    for old, new in (((4, 4), (7, 7)), ((8, 8), (3, 3)), ((5, 5), (4, 6))):
        values = formula("positions", (1, old[0] * old[1] + 1, 6)).float()
        resampled = timm.layers.resample_abs_pos_embed(values, list(new), list(old))
        sizes = f"{old[0]}x{old[1]}.{new[0]}x{new[1]}"
        out[f"positions.before.{sizes}"] = values
        out[f"positions.{sizes}"] = resampled
    save_file({k: v.float().contiguous() for k, v in out.items()}, folder / "backbones.safetensors")

    # One small model in every form that PyTorch users save theirs.
    torch.manual_seed(0)
    state = {
        "stem.weight": weight("stem.weight", (4, 3, 4, 4)),
        "convolutions.0.weight": weight("convolutions.0.weight", (6, 4, 3, 3)),
        "norm.weight": weight("norm.weight", (24,)),
        "norm.bias": weight("norm.bias", (24,)),
        "head.weight": weight("head.weight", (5, 24)),
        "head.bias": weight("head.bias", (5,)),
    }
    # Numbers that half precision holds exactly.
    state = {k: v.half().float().contiguous() for k, v in state.items()}
    counter = {"bn1.num_batches_tracked": torch.tensor(7)}
    save_file(state, folder / "small.safetensors")
    save_file({k: v.half() for k, v in state.items()}, folder / "small-fp16.safetensors")
    torch.save({**state, **counter}, folder / "small.pth")
    torch.save({k: v.half() for k, v in state.items()}, folder / "small-fp16.pth")
    torch.save({"epoch": 3, "state_dict": {"module." + k: v for k, v in state.items()}}, folder / "small-state-dict.pth")
    torch.save({"model": state, "optimizer": {"lr": 0.1, "m": torch.ones(3)}}, folder / "small-model.bin")


if __name__ == "__main__":
    main(*sys.argv[1:])
