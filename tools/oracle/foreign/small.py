# SPDX-License-Identifier: MIT
"""The small VGGs of tests/golden/foreign/: what every generator beside this file writes in its
format. Channels are a 64th of VGG's (a 16th would fill 2.9 MB a file), ten classes. By
our names, PyTorch's order of axes: convolutions O, I, KH, KW, fully connected layers O, I,
fc6's inputs in the order channel, row, column."""
import argparse
import os
import sys

import numpy

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../tests/golden/foreign")
DEPTHS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}


def small(architecture):
    """name -> float32 array, in the network's order."""
    rng = numpy.random.RandomState(int(architecture[3:]))
    tensors, inputs = {}, 3

    def layer(name, shape):
        fan_in = int(numpy.prod(shape[1:]))
        tensors[name + ".weight"] = rng.normal(0, (2 / fan_in) ** 0.5, shape).astype("f4")
        tensors[name + ".bias"] = rng.normal(0, 0.1, shape[:1]).astype("f4")

    for block, depth in enumerate(DEPTHS[architecture]):
        outputs = min(64 << block, 512) // 64
        for i in range(depth):
            layer(f"conv{block + 1}_{i + 1}", (outputs, inputs, 3, 3))
            inputs = outputs
    for name, outputs, inputs in (("fc6", 64, 8 * 49), ("fc7", 64, 64), ("fc8", 10, 64)):
        layer(name, (outputs, inputs))
    return tensors


STD = (0.229, 0.224, 0.225) # torchvision's, R, G, B


def full(path, sees):
    """The same of a whole VGG-19: a safetensors file with a classifier by our names (of
    IMPASTO_DATA's vgg19/assemble), float32. It is made for B, G, R of 0..255 minus Oxford's
    mean; sees: what it is to be made for instead, "rgb", or "torchvision" (0..1, mean and
    deviation), by the first layer's weights."""
    import golden
    tensors = {name: t.float().numpy() for name, t in golden.read(path)[0].items()}
    if sees != "bgr":
        tensors["conv1_1.weight"] = tensors["conv1_1.weight"][:, ::-1]
    if sees == "torchvision":
        std = numpy.array(STD, "f4").reshape(1, 3, 1, 1)
        tensors["conv1_1.weight"] = tensors["conv1_1.weight"] * 255 * std
    return {name: numpy.ascontiguousarray(t) for name, t in tensors.items()}


def main(writers):
    """writers: file name -> (architecture, function of path and tensors[, what a whole network
    of that format sees]). Without arguments the small files are written; with --full MODEL
    FOLDER the same of a whole VGG-19."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", nargs=2, metavar=("MODEL", "FOLDER"))
    args = parser.parse_args()
    for name, (architecture, write, *sees) in writers.items():
        if args.full and architecture != "vgg19":
            continue
        tensors = full(args.full[0], *sees or ["bgr"]) if args.full else small(architecture)
        path = os.path.join(args.full[1] if args.full else FOLDER, name)
        write(path, tensors)
        print(f"{os.path.basename(path)}: {os.path.getsize(path)} bytes")
