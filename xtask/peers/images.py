"""Images a second through torchvision's transforms and Pillow, to compare `cargo xtask bench images`
with.

    images.py FOLDER --count N [--batch N] [--workers N] [--eval]

FOLDER holds JPEG files. Each is opened as torchvision's ImageFolder opens it and goes through
RandomResizedCrop(224) and RandomHorizontalFlip, or with --eval through Resize(256) and
CenterCrop(224), to bytes (PILToTensor, as here; ToTensor would make floats of them too). A DataLoader
with so many workers makes batches. What is timed is the second epoch: the
workers start in the first. Prints one line of JSON.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2


class Photos(Dataset):
    """The files, again and again."""

    def __init__(self, folder, count, transform):
        self.paths = sorted(folder.iterdir())
        self.count = count
        self.transform = transform

    def __len__(self):
        return self.count

    def __getitem__(self, item):
        with open(self.paths[item % len(self.paths)], "rb") as file:
            image = Image.open(file).convert("RGB")
        return self.transform(image)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--eval", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)

    steps = [v2.RandomResizedCrop(224), v2.RandomHorizontalFlip()]
    if args.eval:
        steps = [v2.Resize(256), v2.CenterCrop(224)]
    photos = Photos(args.folder, args.count, v2.Compose([*steps, v2.PILToTensor()]))
    loader = DataLoader(
        photos, batch_size=args.batch, num_workers=args.workers, persistent_workers=True
    )
    # Workers start in the first epoch and stay.
    for _ in loader:
        pass
    start = time.perf_counter()
    images = sum(len(batch) for batch in loader)
    seconds = time.perf_counter() - start
    print(json.dumps({"images_per_second": images / seconds}))


if __name__ == "__main__":
    main()
