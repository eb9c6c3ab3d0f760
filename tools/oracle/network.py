# SPDX-License-Identifier: MIT
"""VGG-16 and VGG-19 in PyTorch, from a dictionary of tensors with our names."""
import torch
import torch.nn.functional as F

CONVS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
CHANNELS = (64, 128, 256, 512, 512)
MEAN = (103.939, 116.779, 123.68)  # blue, green, red: the Oxford files' input


def layers(architecture="vgg19"):
    """(block, "1_1") ... in order; a pool follows the last of each block."""
    return [(b, f"{b + 1}_{i + 1}", i + 1 == n)
            for b, n in enumerate(CONVS[architecture]) for i in range(n)]


def from_rgb(rgb, mean=MEAN):
    """N, 3, H, W of 0..255 to the network's input: blue, green, red, without the mean."""
    return rgb.flip(1) - torch.tensor(mean, dtype=torch.float64).to(rgb).view(1, 3, 1, 1)


def features(w, x, last=None, replicate=False, average=False, architecture="vgg19"):
    """relu1_1 ... relu<last> by name, and "pool5" where last is None.
    replicate: the first convolution's padding; average: the pooling."""
    found = {}
    for _, name, ends_block in layers(architecture):
        weight, bias = w[f"conv{name}.weight"], w[f"conv{name}.bias"]
        if replicate and name == "1_1":
            x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), weight, bias)
        else:
            x = F.conv2d(x, weight, bias, padding=1)
        x = found["relu" + name] = F.relu(x)
        if last == name:
            return found
        if ends_block:
            x = F.avg_pool2d(x, 2) if average else F.max_pool2d(x, 2)
    found["pool5"] = x
    return found


def logits(w, x, flatten="chw", architecture="vgg19"):
    x = features(w, x, architecture=architecture)["pool5"]
    x = (x.permute(0, 2, 3, 1) if flatten == "hwc" else x).flatten(1)
    for name in ("fc6", "fc7"):
        x = F.relu(F.linear(x, w[name + ".weight"].flatten(1), w[name + ".bias"].flatten()))
    return F.linear(x, w["fc8.weight"].flatten(1), w["fc8.bias"].flatten())
