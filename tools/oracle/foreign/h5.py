# SPDX-License-Identifier: MIT
"""The small VGGs as Keras's .h5 (by h5py, as fchollet/deep-learning-models and Keras 2 wrote
them): the old names with the classifier, the new names without, and a whole model."""
import h5py
import numpy

import small

FULLY_CONNECTED = {"fc6": "fc1", "fc7": "fc2", "fc8": "predictions"}


def keras(tensors, top):
    """layer -> {"kernel": array, "bias": array}, pools and the flattening as {}."""
    out, block = {"input_1": {}}, "1"
    for name in tensors:
        layer, what = name.split(".")
        array = tensors[name]
        if layer.startswith("fc"):
            if not top:
                continue
            if block == "5":
                out["block5_pool"], out["flatten"], block = {}, {}, "fc"
            keras_name = FULLY_CONNECTED[layer]
            if layer == "fc6" and what == "weight": # channel, row, column to row, column, channel
                array = array.reshape(array.shape[0], -1, 7, 7).transpose(0, 2, 3, 1)
                array = array.reshape(array.shape[0], -1)
            array = array.T
        else:
            if layer[4] != block:
                out[f"block{block}_pool"], block = {}, layer[4]
            keras_name = f"block{layer[4]}_conv{layer[6]}"
            array = array.transpose(2, 3, 1, 0) if what == "weight" else array
        out.setdefault(keras_name, {})["kernel" if what == "weight" else "bias"] = array
    if block == "5":
        out["block5_pool"] = {}
    return out


def fill(group, layers, name_of, **how):
    group.attrs["layer_names"] = numpy.array([name.encode() for name in layers])
    group.attrs["backend"] = numpy.bytes_("tensorflow")
    group.attrs["keras_version"] = numpy.bytes_("2.0.0")
    for layer, parts in layers.items():
        inner = group.create_group(layer)
        names = {what: name_of(layer, what) for what in parts}
        inner.attrs["weight_names"] = numpy.array([name.encode() for name in names.values()])
        for what, array in parts.items():
            chunked = how if array.ndim > 1 else {}
            inner.create_dataset(names[what], data=numpy.ascontiguousarray(array, "<f4"), **chunked)


def old_name(layer, what):
    return f"{layer}_{'W' if what == 'kernel' else 'b'}_1:0"


def new_name(layer, what):
    return f"{layer}/{what}:0"


def old(path, tensors):
    with h5py.File(path, "w") as f:
        fill(f, keras(tensors, True), old_name)


def notop(path, tensors):
    with h5py.File(path, "w") as f:
        fill(f, keras(tensors, False), new_name)


def model(path, tensors):
    with h5py.File(path, "w") as f:
        f.attrs["model_config"] = numpy.bytes_('{"class_name": "Functional"}')
        group = f.create_group("model_weights")
        fill(group, keras(tensors, True), new_name, chunks=True, compression="gzip")
        # What an optimiser keeps is no weight of the network.
        moments = f.create_group("optimizer_weights").create_group("Adam")
        moments.create_dataset("iter:0", data=numpy.int64(12))
        moments.create_dataset("m/fc1/bias:0", data=numpy.zeros(64, "<f4"))


WRITERS = {
    "vgg19-old.h5": ("vgg19", old),
    "vgg19-notop.h5": ("vgg19", notop),
    "vgg16-model.h5": ("vgg16", model),
}

if __name__ == "__main__":
    small.main(WRITERS)
