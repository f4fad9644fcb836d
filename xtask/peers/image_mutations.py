"""What Pillow and recall-data say of image files that were cut, flipped and spliced at random.

    cargo build --release -p recall-data --example verdicts
    image_mutations.py target/release/examples/verdicts [--count N] [--seed N] [--keep FOLDER]

Needs Pillow. The files are mutations of small JPEG, PNG, WebP and BMP files that Pillow writes. Each is
shown to both; whatever Pillow refuses as cut short has to be refused by recall-data, else this ends with
exit code 1. Prints how often the two agreed and what they said where they did not. --keep writes the
smallest file of each kind of disagreement to a folder.
"""

import argparse
import collections
import io
import random
import re
import struct
import subprocess
import sys
import threading
from pathlib import Path

from PIL import Image

# As many as recall-data decodes; above, Pillow warns up to twice as many and then refuses.
PIXELS = 1 << 27
Image.MAX_IMAGE_PIXELS = PIXELS // 2

# What Pillow and libwebp say of a file that ends too early.
SHORT = re.compile("truncat|not processed|premature|Truncated", re.IGNORECASE)


def picture(width, height, rng):
    """Smooth colours with some noise."""
    image = Image.new("RGB", (width, height))
    across, down = rng.uniform(1, 6), rng.uniform(1, 6)
    image.putdata(
        [
            (
                int(x * across + rng.random() * 20) % 256,
                int(y * down + rng.random() * 20) % 256,
                int((x + y) * 3 + rng.random() * 40) % 256,
            )
            for y in range(height)
            for x in range(width)
        ]
    )
    return image


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def originals(rng):
    """Names and bytes."""
    image = picture(61, 45, rng)
    yield "420.jpg", encoded(image, "JPEG", quality=85)
    yield "444.jpg", encoded(image, "JPEG", quality=85, subsampling="4:4:4")
    yield "progressive.jpg", encoded(image, "JPEG", quality=85, progressive=True)
    yield "optimised.jpg", encoded(image, "JPEG", quality=60, optimize=True)
    yield "restarts.jpg", encoded(image, "JPEG", restart_marker_blocks=3)
    yield "grey.jpg", encoded(image.convert("L"), "JPEG")
    yield "cmyk.jpg", encoded(image.convert("CMYK"), "JPEG")
    exif = Image.Exif()
    exif[0x0112] = 6
    yield "exif.jpg", encoded(image, "JPEG", exif=exif)
    yield "rgb.png", encoded(image, "PNG")
    yield "palette.png", encoded(image.convert("P"), "PNG")
    yield "alpha.png", encoded(image.convert("RGBA"), "PNG", exif=exif)
    yield "lossy.webp", encoded(image, "WEBP", quality=80)
    yield "lossless.webp", encoded(image, "WEBP", lossless=True)
    yield "alpha.webp", encoded(image.convert("RGBA"), "WEBP", quality=60, exif=exif)
    yield "rgb.bmp", encoded(image, "BMP")
    yield "palette.bmp", encoded(image.convert("P"), "BMP")


def mutated(file, others, rng):
    """A kind of mutation and what comes out."""
    kind = rng.choice(["cut", "cut end", "flip", "hole", "twice", "noise", "splice"])
    file = bytearray(file)
    start, end = sorted(rng.randrange(len(file)) for _ in range(2))
    if kind == "cut":
        del file[start:]
    elif kind == "cut end":
        del file[len(file) - rng.randrange(1, 33) :]
    elif kind == "flip":
        for _ in range(rng.randrange(1, 9)):
            file[rng.randrange(len(file))] ^= 1 << rng.randrange(8)
    elif kind == "hole":
        del file[start:end]
    elif kind == "twice":
        file[start:end] = file[start:end] * 2
    elif kind == "noise":
        for place in range(start, min(end, start + 40)):
            file[place] = rng.randrange(256)
    else:
        other = rng.choice(others)
        file[start:] = other[rng.randrange(len(other)) :]
    return kind, bytes(file)


def pillows(file):
    """`(None, (width, height), sum)` or `(why, None, None)`."""
    try:
        with Image.open(io.BytesIO(file), formats=["JPEG", "PNG", "WEBP", "BMP"]) as image:
            image.load()
            # Of 16 bits and in CMYK the two differ on purpose; their sums are not compared.
            alike = image.mode in ("RGB", "L", "P", "1", "RGBA")
            rgb = image.convert("RGB")
            return None, rgb.size, sum(rgb.tobytes()) if alike else None
    except Exception as error:  # Whatever it raises, it refuses.
        return f"{type(error).__name__}: {error}", None, None


def stripped(message):
    """A message without its numbers, to count alike ones together."""
    return re.sub(r"0x[0-9a-fA-F]+|\d+", "N", message)[:110]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verdicts", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()

    rng = random.Random(args.seed)
    files = list(originals(rng))
    every = [file for _, file in files]
    cases = [(name, "whole", file) for name, file in files]
    for number in range(args.count):
        name, file = files[number % len(files)]
        cases.append((name, *mutated(file, every, rng)))

    ours = subprocess.Popen([args.verdicts], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def feed():
        for _, _, file in cases:
            ours.stdin.write(struct.pack("<I", len(file)) + file)
        ours.stdin.close()

    threading.Thread(target=feed, daemon=True).start()

    agreed = collections.Counter()
    disagreed = collections.Counter()
    smallest = {}
    failures, other_pixels, most = [], 0, 0.0
    for number, (name, kind, file) in enumerate(cases):
        verdict = ours.stdout.readline().decode().strip()
        if not verdict:
            sys.exit(f"no verdict on mutation {number}: recall-data broke off")
        accepts = verdict.startswith("ok ")
        why, size, total = pillows(file)
        if kind == "whole" and (why or not accepts):
            failures.append(f"{name} is whole: {why} / {verdict}")
        suffix = name.rsplit(".")[-1]
        if accepts and why is None:
            agreed[suffix, "both decode"] += 1
            width, height, mine = map(int, verdict.split()[1:])
            if (width, height) != size:
                failures.append(f"{number} {name} {kind}: {width} x {height}, not {size}")
            elif total is not None:
                apart = abs(mine - total) / (3 * width * height)
                most = max(most, apart)
                other_pixels += apart > 1
        elif not accepts and why is not None:
            agreed[suffix, "both refuse"] += 1
        else:
            label = (
                suffix,
                stripped(why) if why else "Pillow decodes",
                "decoded here" if accepts else stripped(verdict[3:]),
            )
            disagreed[label] += 1
            if len(file) < len(smallest.get(label, (file + b"x",))[0]):
                smallest[label] = (file, f"{kind}-{name}")
            if accepts and (SHORT.search(why) or kind in ("cut", "cut end")):
                failures.append(f"{number} {name} {kind}: {why}, but decoded here")

    for (suffix, what), count in sorted(agreed.items()):
        print(f"{count:7} {suffix:5} {what}")
    for (suffix, theirs, here), count in disagreed.most_common():
        print(f"{count:7} {suffix:5} {theirs} | {here}")
    print(
        f"{other_pixels} files that both decode differ by more than 1 on average, {most:.1f} at most"
    )
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
        for number, (file, name) in enumerate(smallest.values()):
            (args.keep / f"{number:02}-{name.replace(' ', '-')}").write_bytes(file)
    for failure in failures[:40]:
        print("FAILED", failure)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
