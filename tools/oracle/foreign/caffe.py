# SPDX-License-Identifier: MIT
"""The small VGGs as Caffe's .caffemodel: the wire's bytes by hand, in the field numbers of
Caffe's own description (NetParameter, V1LayerParameter, LayerParameter, BlobProto)."""
import numpy

import small
from wire import number, text, varint

V1_CONVOLUTION, V1_INNER_PRODUCT, V1_RELU, V1_POOLING = 4, 14, 18, 17


def blob_v1(array):
    """Four sides, filled up with ones in front."""
    sides = (1,) * (4 - array.ndim) + array.shape
    return (b"".join(number(1 + i, n) for i, n in enumerate(sides)) +
            text(5, numpy.ascontiguousarray(array, "<f4").tobytes()))


def blob_v2(array):
    """The shape comes last, as Caffe writes it: fields go by their numbers."""
    return (text(5, numpy.ascontiguousarray(array, "<f4").tobytes()) +
            text(7, text(1, b"".join(varint(n) for n in array.shape))))


def layer_v1(name, kind, below, blobs=()):
    return text(2, text(2, below) + text(3, name) + text(4, name) + number(5, kind) +
                b"".join(text(6, blob_v1(a)) for a in blobs))


def layer_v2(name, kind, below, blobs=()):
    return text(100, text(1, name) + text(2, kind) + text(3, below) + text(4, name) +
                b"".join(text(7, blob_v2(a)) for a in blobs) + number(10, 1))


def layers(tensors):
    """name, kind, the one below, blobs; a relu behind each and a pool behind each block."""
    names = [name[:-7] for name in tensors if name.endswith(".weight")]
    below = "data"
    for name, following in zip(names, names[1:] + [None]):
        conv = name.startswith("conv")
        yield (name, "Convolution" if conv else "InnerProduct", below,
               [tensors[name + ".weight"], tensors[name + ".bias"]])
        below = name
        if name != "fc8":
            yield "relu" + name[-3 if conv else -1:], "ReLU", name, []
        if conv and following[:5] != name[:5]:
            yield "pool" + name[4], "Pooling", name, []
            below = "pool" + name[4]


def v1(path, tensors):
    kinds = {"Convolution": V1_CONVOLUTION, "InnerProduct": V1_INNER_PRODUCT, "ReLU": V1_RELU,
             "Pooling": V1_POOLING}
    with open(path, "wb") as f:
        f.write(text(1, "VGG"))
        for name, kind, below, blobs in layers(tensors):
            f.write(layer_v1(name, kinds[kind], below, blobs))
        f.write(text(3, "data") + b"".join(number(4, n) for n in (10, 3, 224, 224)))


def v2(path, tensors):
    with open(path, "wb") as f:
        f.write(text(1, "VGG") + text(100, text(1, "data") + text(2, "Input") + text(4, "data")))
        for name, kind, below, blobs in layers(tensors):
            f.write(layer_v2(name, kind, below, blobs))


WRITERS = {
    "vgg19-v1.caffemodel": ("vgg19", v1),
    "vgg19-v2.caffemodel": ("vgg19", v2),
    "vgg16-v1.caffemodel": ("vgg16", v1),
}

if __name__ == "__main__":
    small.main(WRITERS)
