"""State dicts as people save them, written by PyTorch, and what is in them.

    python xtask/peers/weights_fixtures.py crates/recall-engine/tests/fixtures/pytorch

writes what crates/recall-train/tests/pytorch_files.rs reads. Needs torch and safetensors. `layouts*.pth`
hold tensors of every layout, `layouts.safetensors` the same numbers as `torch.load` gives them, in single
precision; `small-*` are ways to save the small model of `backbones.py` whose numbers are in
../small.safetensors.
"""

import argparse
import collections
import io
import pathlib
import sys
import zipfile

import numpy as np
import torch
from safetensors.torch import load_file, save_file


def numbers(*shape):
    count = int(np.prod(shape))
    return ((torch.arange(count, dtype=torch.float32) * 37 % 64) / 8 - 4).reshape(shape)


def layouts():
    base = numbers(6, 8)
    state = collections.OrderedDict()
    state["contiguous"] = numbers(2, 3)
    state["channels_last"] = numbers(2, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    state["transposed"] = numbers(3, 4).t()
    state["permuted"] = numbers(2, 3, 4).permute(2, 0, 1)
    state["sliced"] = base[1:4, 2:7]
    state["stepped"] = base[::2, 1::3]
    state["shared"] = base[5]
    state["expanded"] = numbers(3, 1).expand(3, 4)
    state["one_for_all"] = torch.tensor(1.5).expand(2, 2)
    state["scalar"] = torch.tensor(-2.25)
    state["empty"] = torch.zeros(0, 3)
    state["half"] = numbers(5).half()
    state["half_transposed"] = numbers(2, 3).half().t()
    state["bfloat16"] = numbers(5).bfloat16()
    state["double"] = numbers(2, 2).double() / 3
    state["parameter"] = torch.nn.Parameter(numbers(4))
    attributed = numbers(3).clone()
    attributed.remark = "kept beside the numbers"
    state["attributed"] = attributed
    state["attributed_parameter"] = torch.nn.Parameter(numbers(3))
    state["attributed_parameter"].remark = 1
    state["steps"] = torch.tensor(7)
    state["mask"] = torch.tensor([True, False])
    state["complex"] = torch.tensor([1 + 2j])
    state["unsigned"] = torch.tensor([1, 2], dtype=torch.uint16)
    return state


def legacy(saved, path, protocol=2):
    torch.save(saved, path, _use_new_zipfile_serialization=False, pickle_protocol=protocol)


def big_endian(state, path):
    """Writes a state dict as a big-endian machine does."""
    little = io.BytesIO()
    torch.save(state, little)
    # Storages are numbered in the order in which they are met.
    sizes = {t.untyped_storage().data_ptr(): t.element_size() for t in state.values()}
    sizes = dict(zip(map(str, range(len(sizes))), sizes.values()))
    with zipfile.ZipFile(little) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("/byteorder"):
                data = b"big"
            elif "/data/" in name:
                data = np.frombuffer(data, f"<u{sizes[name.rsplit('/', 1)[1]]}").byteswap().tobytes()
            new.writestr(name, data)


def main(folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = layouts()
    torch.save(state, folder / "layouts.pth")
    # The old format has no place for the types that PyTorch got later.
    old = {k: v for k, v in state.items() if k != "unsigned"}
    legacy(collections.OrderedDict(old), folder / "layouts-legacy.pth")
    torch.save(state, folder / "layouts-protocol4.pth", pickle_protocol=4)
    legacy(old, folder / "layouts-legacy-protocol5.pth", 5)

    expected = torch.load(folder / "layouts.pth", weights_only=False)
    for path in folder.glob("layouts*.pth"):
        again = torch.load(path, weights_only=False)
        for name, tensor in again.items():
            assert torch.equal(expected[name].detach(), tensor.detach()), (path, name)
    floats = {k: v.detach().float().contiguous().clone() for k, v in expected.items() if v.dtype.is_floating_point}
    save_file(floats, folder / "layouts.safetensors")

    some = {k: state[k] for k in ("contiguous", "channels_last", "sliced", "stepped", "half", "double", "steps")}
    big_endian(some, folder / "big-endian.pth")
    again = torch.load(folder / "big-endian.pth")
    for name, tensor in some.items():
        assert torch.equal(again[name], tensor), name

    # A checkpoint as training scripts write it.
    small = load_file(folder.parent / "small.safetensors")
    weights = [torch.nn.Parameter(v.clone()) for v in small.values()]
    optimiser = torch.optim.AdamW(weights, lr=0.1)
    sum((w**2).sum() for w in weights).backward()
    optimiser.step()
    rest = {
        "epoch": 3,
        "args": argparse.Namespace(lr=0.1, path=pathlib.PurePosixPath("data")),
        "best": np.float64(0.5),
        "history": np.arange(3),
        "seed": 2**100,
        "seen": {1, 2},
        "device": torch.device("cpu"),
        "kind": torch.float32,
        "size": torch.Size([2, 3]),
        "counts": collections.defaultdict(int, a=1),
        "rng": torch.get_rng_state()[:8],
    }
    last = {k: v.contiguous(memory_format=torch.channels_last) if v.dim() == 4 else v for k, v in small.items()}
    wrapped = collections.OrderedDict(("_orig_mod.module." + k, v) for k, v in last.items())
    wrapped._metadata = {"": {"version": 1}}
    checkpoint = {"state_dict": wrapped, **rest}
    torch.save(checkpoint, folder / "small-channels-last.pth")
    del checkpoint["seen"], checkpoint["seed"]
    legacy({"model_state_dict": wrapped, "optimizer": {"betas": (0.9, 0.999)}, **rest}, folder / "small-legacy.pth")
    print(sum(path.stat().st_size for path in folder.iterdir()), "bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
