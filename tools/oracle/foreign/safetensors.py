# SPDX-License-Identifier: MIT
"""The small VGGs by our own names, which all others are compared with, and by torchvision's
and timm's."""
import json
import struct

import numpy

import small


def put(path, tensors):
    header, blobs, offset = {}, [], 0
    for name, array in tensors.items():
        blob = numpy.ascontiguousarray(array, "<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape),
                        "data_offsets": [offset, offset + len(blob)]}
        offset += len(blob)
        blobs.append(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def torchvision(tensors, classifier=(0, 3, 6)):
    """The same tensors by torchvision's names."""
    named, number, block = {}, 0, "1"
    for name, array in tensors.items():
        layer, what = name.split(".")
        if layer.startswith("fc"):
            named[f"classifier.{classifier[int(layer[2]) - 6]}.{what}"] = array
            continue
        if layer[4] != block: # a pool lies between
            number, block = number + 1, layer[4]
        named[f"features.{number}.{what}"] = array
        if what == "bias":
            number += 2
    return named


def timm(tensors):
    named = torchvision(tensors, ("pre_logits.fc1", "pre_logits.fc2", "head.fc"))
    named = {name.replace("classifier.", ""): array for name, array in named.items()}
    outputs = named["features.0.weight"].shape[0] * 8
    for name, sides in (("pre_logits.fc1.weight", 7), ("pre_logits.fc2.weight", 1)):
        o = named[name].shape[0]
        named[name] = named[name].reshape(o, outputs if sides == 7 else o, sides, sides)
    return named


WRITERS = {
    "vgg16.safetensors": ("vgg16", put),
    "vgg19.safetensors": ("vgg19", put),
    "vgg19-torchvision.safetensors": ("vgg19", lambda p, t: put(p, torchvision(t)), "torchvision"),
    "vgg19-timm.safetensors": ("vgg19", lambda p, t: put(p, timm(t)), "torchvision"),
}

if __name__ == "__main__":
    small.main(WRITERS)
