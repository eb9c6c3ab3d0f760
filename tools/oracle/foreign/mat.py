# SPDX-License-Identifier: MIT
"""The small VGGs as MatConvNet's .mat (MAT-file level 5, by scipy): its old generation, which
has `normalization` and no dimensions of 1 at the end, as MATLAB writes; its new one, which has
`meta`, other orders of fields and trailing dimensions."""
import numpy
import scipy.io

import small

MEAN = (123.68, 116.779, 103.939)
HEADER = b"MATLAB 5.0 MAT-file, Platform: GLNXA64, Created on: Thu Jan  1 00:00:00 1970"


def cell(items):
    """A 1 x N cell."""
    out = numpy.empty((1, len(items)), object)
    for i, item in enumerate(items):
        out[0, i] = item
    return out


def as_matlab(array):
    """Without the dimensions of 1 at the end, of which MATLAB keeps none beyond two."""
    shape = array.shape
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    return array.reshape(shape, order="F")


def filters(weight, side):
    """O, I, KH, KW or O, I (fully connected) as H, W, I, O."""
    if weight.ndim == 2:
        weight = weight.reshape(weight.shape[0], -1, side, side)
    return weight.transpose(2, 3, 1, 0)


def order(names, fields):
    return {name: fields[name] for name in names}


def layers(tensors, old):
    out, block = [], "1"
    names = [name[:-7] for name in tensors if name.endswith(".weight")]
    for name in names:
        fc = name.startswith("fc")
        if (fc and block == "5") or (not fc and name[4] != block):
            out.append(order(("type", "name", "method", "pool", "stride", "pad"), {
                "name": "pool" + block, "type": "pool", "method": "max", "pool": [2.0, 2.0],
                "stride": [2.0, 2.0], "pad": [0.0, 0.0, 0.0, 0.0]}))
            block = "fc" if fc else name[4]
        weight = filters(tensors[name + ".weight"], 7 if name == "fc6" else 1)
        bias = tensors[name + ".bias"]
        conv = {"name": name, "type": "conv", "stride": [1.0, 1.0],
                "pad": [0.0 if fc else 1.0] * 4, "dilate": 1.0, "opts": cell([])}
        if old:
            conv["weights"] = cell([as_matlab(weight), bias.reshape(1, -1)])
            out.append(order(("weights", "pad", "type", "name", "stride"), conv))
        else:
            conv["weights"] = cell([weight, bias.reshape(-1, 1)])
            out.append(order(("name", "type", "dilate", "stride", "pad", "weights", "opts"), conv))
        if name != "fc8":
            number = name.replace("conv", "relu").replace("fc", "relu")
            relu = {"name": number, "type": "relu", "leak": 0.0, "weights": cell([])}
            out.append(order(("type", "name") if old else ("weights", "leak", "name", "type"), relu))
    out.append({"type": "softmax", "name": "prob"})
    return cell(out)


def put(path, variables, packed):
    scipy.io.savemat(path, variables, do_compression=packed, long_field_names=True)
    with open(path, "r+b") as f: # scipy writes the date
        f.write(HEADER.ljust(116))


def old(path, tensors):
    side = 224 if tensors["conv1_1.weight"].shape[0] == 64 else 4
    picture = numpy.broadcast_to(numpy.float32(MEAN), (side, side, 3))
    put(path, {"layers": layers(tensors, True), "classes": {"name": cell(["tench", "goldfish"])},
               "normalization": {"averageImage": picture, "imageSize": [224.0, 224.0, 3.0],
                                 "interpolation": "bicubic"}}, False)


def new(packed):
    def write(path, tensors):
        normalization = {"imageSize": [224.0, 224.0, 3.0], "keepAspect": 1.0,
                         "averageImage": numpy.reshape(MEAN, (1, 1, 3)), "border": [32.0, 32.0]}
        put(path, {"meta": {"classes": {"name": cell(["tench", "goldfish"])},
                            "normalization": normalization},
                   "layers": layers(tensors, False)}, packed)
    return write


WRITERS = {
    "vgg19-old.mat": ("vgg19", old, "rgb"),
    "vgg19-new.mat": ("vgg19", new(True), "rgb"),
    "vgg16-new.mat": ("vgg16", new(False)),
}

if __name__ == "__main__":
    small.main(WRITERS)
