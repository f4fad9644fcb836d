"""Makes the images that `crates/recall-data/tests/images.rs` reads, and what Pillow and torchvision
make of them.

    image_fixtures.py FOLDER

Writes to FOLDER, `crates/recall-data/tests/fixtures/images` in the repository, each image and beside
it NAME.expected.png, 48 pixels wide, with four parts from top to bottom:

- 48 rows: the evaluation transform, Resize(56) and CenterCrop(48);
- 36 rows: RandomResizedCrop with the region that `region` gives;
- 32 rows: the whole image resized to 48 x 32;
- 24 rows: the lower right 48 x 24 pixels as decoded.

All of them through convert("RGB"), as torchvision's loader does it. Made with Pillow 13.0.0 and
torchvision 0.29.2. Needs numpy, Pillow and torchvision; the images are made up from a seed.
"""

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import torchvision.transforms.functional as F
from PIL import Image


def photo(width, height, seed):
    """Smooth light, 1/f texture and a few sharp edges: what a photograph is to a codec."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1

    def noise(exponent):
        white = np.fft.rfft2(rng.standard_normal((height, width)))
        pink = np.fft.irfft2(white / frequency**exponent, s=(height, width))
        return pink / pink.std()

    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    texture = noise(1.4)
    planes = [
        115 + 35 * texture + 20 * noise(1.8) + 40 * x * rng.uniform(-1, 1) + 40 * y * rng.uniform(-1, 1)
        for _ in range(3)
    ]
    image = np.stack(planes, -1)
    for _ in range(6):
        left, top, across, down = rng.uniform([-1, -1, 0.1, 0.1], [1, 1, 0.5, 0.5])
        inside = ((x - left) / across) ** 2 + ((y - top) / down) ** 2 < 1
        image[inside] = 0.5 * image[inside] + 0.5 * rng.uniform(0, 255, 3)
    return image.clip(0, 255).astype(np.uint8)


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def jpeg(image, quality=88, **options):
    return encoded(image, "JPEG", quality=quality, **options)


def with_transform(file, transform):
    """Says in Adobe's marker that the colours are another kind."""
    place = file.index(b"Adobe") + 11
    return file[:place] + bytes([transform]) + file[place + 1 :]


def without_adobe(file):
    start = file.index(b"Adobe") - 4
    return file[:start] + file[start + 2 + int.from_bytes(file[start + 2 : start + 4], "big") :]


def oriented(image):
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(image, exif=exif)


def wide(pixels):
    """16 bits of a wide range."""
    return pixels.astype(np.uint16) * 251 + 100


def png_16(pixels):
    """A PNG of 16-bit RGB, which Pillow reads but does not write."""
    height, width, _ = pixels.shape

    def chunk(kind, content):
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def palette(image):
    alpha = image.convert("L").point(lambda value: 0 if value < 90 else 255)
    indexed = image.quantize(60)
    return encoded(indexed, "PNG", transparency=alpha.tobytes()[:60])


def files():
    def rgb(width, height, seed):
        return Image.fromarray(photo(width, height, seed))

    def rgba(width, height, seed):
        image = rgb(width, height, seed)
        image.putalpha(image.convert("L"))
        return image

    yield "420.jpg", jpeg(rgb(301, 227, 1), subsampling="4:2:0")
    yield "444.jpg", jpeg(rgb(97, 173, 2), subsampling="4:4:4")
    yield "422.jpg", jpeg(rgb(143, 101, 3), subsampling="4:2:2")
    yield "progressive.jpg", jpeg(rgb(211, 150, 4), subsampling="4:2:0", progressive=True)
    yield "restarts.jpg", jpeg(rgb(130, 71, 5), restart_marker_blocks=7)
    yield "grey.jpg", jpeg(rgb(131, 99, 6).convert("L"))
    cmyk = rgb(77, 67, 7).convert("CMYK")
    yield "cmyk-adobe.jpg", jpeg(cmyk)
    yield "cmyk-plain.jpg", without_adobe(jpeg(cmyk))
    yield "ycck.jpg", with_transform(jpeg(cmyk), 2)
    yield "rgb.jpg", jpeg(rgb(75, 61, 8), keep_rgb=True)
    yield "exif.jpg", oriented(rgb(90, 60, 9))
    yield "rgb.png", encoded(rgb(97, 73, 10), "PNG")
    yield "alpha.png", encoded(rgba(71, 65, 11), "PNG")
    yield "palette.png", palette(rgb(91, 67, 12))
    yield "grey-16.png", encoded(Image.fromarray(wide(photo(63, 59, 17)[:, :, 0])), "PNG")
    yield "rgb-16.png", png_16(wide(photo(59, 51, 18)))
    yield "grey-alpha.png", encoded(rgba(71, 65, 13).convert("LA"), "PNG")
    yield "bits.png", encoded(rgb(121, 83, 14).convert("1"), "PNG")
    yield "lossy.webp", encoded(rgb(121, 83, 15), "WEBP", quality=85)
    yield "lossless.webp", encoded(rgba(61, 53, 16), "WEBP", lossless=True)


def region(width, height):
    """Top, left, height and width of the crop, the same in the test."""
    return height // 7, width // 5, height * 3 // 5, width * 5 // 7


def expected(image):
    if image.mode == "I;16":
        # Pillow cuts 16-bit grey at 255, which leaves white. Of RGB it takes the upper 8 bits, and
        # so do we of both.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image = image.convert("RGB")
    width, height = image.size
    parts = [
        F.center_crop(F.resize(image, 56), 48),
        F.resized_crop(image, *region(width, height), [36, 48]),
        F.resize(image, [32, 48]),
        image.crop((width - 48, height - 24, width, height)),
    ]
    return Image.fromarray(np.concatenate([np.asarray(part) for part in parts]))


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in files():
        (folder / name).write_bytes(file)
        result = expected(Image.open(io.BytesIO(file)))
        result.save(folder / f"{name}.expected.png", optimize=True)


if __name__ == "__main__":
    main()
