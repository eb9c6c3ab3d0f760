# SPDX-License-Identifier: MIT
"""The small VGGs as torch.save writes them, in both containers, by the names of torchvision, of
the weights converted from Caffe's, and of Gatys's."""
import collections

import numpy
import torch

import small
from safetensors import torchvision


def put(path, tensors, new=True):
    state = collections.OrderedDict()
    for name, array in tensors.items():
        state[name] = torch.from_numpy(numpy.array(array, "<f4"))
    torch.save(state, path, _use_new_zipfile_serialization=new)


def convolutions(tensors):
    return {name: array for name, array in tensors.items() if name.startswith("conv")}


WRITERS = {
    "vgg19.legacy.pth": ("vgg19", lambda p, t: put(p, torchvision(t), new=False), "torchvision"),
    "vgg19.zip.pth": ("vgg19", lambda p, t: put(p, torchvision(t)), "torchvision"),
    "vgg16.zip.pth": ("vgg16", lambda p, t: put(p, torchvision(t))),
    "vgg19-d01eb7cb.pth": ("vgg19", lambda p, t: put(p, torchvision(t, (1, 4, 6)))),
    "vgg_conv.pth": ("vgg19", lambda p, t: put(p, convolutions(t), new=False)),
}

if __name__ == "__main__":
    small.main(WRITERS)
