"""The outputs and gradients of layers with PyTorch, in f64 on numbers by a formula, for the tests of
recall-nn.

    layers.py crates/recall-nn/tests/fixtures/layers.safetensors
"""

import sys

import numpy
import torch
from safetensors.numpy import save_file
from torch.nn import functional as F


def formula(seed, shape):
    """Numbers in [-1, 1) that depend on the seed and the index alone, as in tests/layers/cases.rs."""
    count = int(numpy.prod(shape))
    x = numpy.arange(count, dtype=numpy.uint32) * numpy.uint32(2654435761)
    x ^= numpy.array([seed], numpy.uint32) * numpy.uint32(2246822519)
    for factor in (2246822507, 3266489909):
        x = (x ^ (x >> 16)) * numpy.uint32(factor)
    x ^= x >> 16
    return torch.from_numpy(x.astype(numpy.float64) / 2**31 - 1).reshape(shape)


def conv(images, cout, kernel, stride, padding, scale, shift, residual, relu):
    side = lambda pixels: (pixels + 2 * padding - kernel) // stride + 1
    shapes = [images, [cout, images[1], kernel, kernel]]
    shapes += [[cout]] * (scale + shift)
    if residual:
        shapes.append([images[0], cout, side(images[2]), side(images[3])])

    def forward(x, weight, *rest):
        rest = list(rest)
        y = F.conv2d(x, weight, stride=stride, padding=padding)
        if scale:
            y = y * rest.pop(0)[:, None, None]
        if shift:
            y = y + rest.pop(0)[:, None, None]
        if residual:
            y = y + rest.pop(0)
        return F.relu(y) if relu else y

    return shapes, forward


def pool(images, kernel, stride, padding):
    return [images], lambda x: F.max_pool2d(x, kernel, stride, padding)


def norm(*shape):
    width = [shape[-1]]
    return [list(shape), width, width], lambda x, g, b: F.layer_norm(x, width, g, b, 1e-5)


def attention(heads, n, tokens, triple):
    def forward(packed):
        parts = packed.reshape(n, tokens, 3, heads, triple // 3 // heads).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(*parts).transpose(1, 2).reshape(n, tokens, triple // 3)

    return [[n, tokens, triple]], forward


def gem(x, p):
    return x.clamp(min=1e-6).pow(3 + p).mean((2, 3)).pow(1 / (3 + p))


ALL = (True,) * 4
CONVOLUTIONS = [
    conv([2, 3, 10, 9], 8, 4, 2, 1, False, False, False, True),
    conv([2, 3, 15, 14], 5, 7, 2, 3, True, True, False, True),
    conv([2, 5, 7, 9], 13, 1, 1, 0, *ALL),
    conv([2, 4, 9, 6], 7, 3, 2, 1, *ALL),
    conv([1, 3, 28, 14], 6, 14, 14, 0, False, True, False, False),
]
OTHERS = [
    pool([2, 3, 8, 6], 2, 2, 0),
    pool([1, 2, 7, 5], 2, 2, 0),
    pool([2, 2, 9, 8], 3, 2, 1),
    pool([1, 1, 4, 5], 3, 1, 1),
    pool([1, 2, 7, 7], 4, 3, 2),
    norm(3, 7),
    norm(2, 5, 16),
    norm(40, 33),
    ([[3, 17]], F.gelu),
    ([[2, 3, 5, 7]], F.gelu),
    ([[2, 3, 4, 5], [1]], gem),
    ([[1, 5, 1, 1], [1]], gem),
    attention(1, 1, 1, 3),
    attention(2, 2, 5, 24),
    attention(3, 1, 17, 63),
]

tensors = {}
for kind, cases in (("conv", CONVOLUTIONS), ("other", OTHERS)):
    for index, (shapes, forward) in enumerate(cases):
        inputs = [formula(1 + at, shape).requires_grad_() for at, shape in enumerate(shapes)]
        output = forward(*inputs)
        (output * formula(0, list(output.shape))).sum().backward()
        found = {"output": output} | {f"grad{at}": x.grad for at, x in enumerate(inputs)}
        for name, tensor in found.items():
            tensors[f"{kind}{index}.{name}"] = tensor.detach().numpy().astype(numpy.float32)
save_file(tensors, sys.argv[1])
