# SPDX-License-Identifier: MIT
"""The small VGG-19 as NumPy's savez writes it: conv1_1_W, KH, KW, I, O, and conv1_1_b; fully
connected layers I, O, fc6's inputs in the order row, column, channel."""
import numpy

import small


def named(tensors):
    arrays = {}
    for name, array in tensors.items():
        layer, what = name.split(".")
        if what == "weight" and array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)
        elif what == "weight" and layer == "fc6":
            outputs = len(array)
            array = array.reshape(outputs, -1, 7, 7).transpose(2, 3, 1, 0).reshape(-1, outputs)
        elif what == "weight":
            array = array.T
        arrays[f"{layer}_{'W' if what == 'weight' else 'b'}"] = numpy.ascontiguousarray(array)
    return arrays


def convolutions(arrays):
    return {name: array for name, array in arrays.items() if name.startswith("conv")}


WRITERS = {
    "vgg19.npz": ("vgg19", lambda p, t: numpy.savez(p, **named(t)), "rgb"),
    "vgg19-packed.npz": ("vgg19", lambda p, t: numpy.savez_compressed(
        p, **convolutions(named(t)))),
}

if __name__ == "__main__":
    small.main(WRITERS)
