# SPDX-License-Identifier: MIT
"""What the tools above read: weights, pictures and numbers, refused with a word where wrong."""
import argparse
import math
import os
import struct
import sys

import PIL.Image

import golden
import network
import pil
import vgg


def fail(what):
    sys.exit(f"{os.path.basename(sys.argv[0])}: {what}")


def note(what):
    print(f"{os.path.basename(sys.argv[0])}: note: {what}", file=sys.stderr)


def count(least):
    def parse(text):
        if not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected {least} or more, found {text}")
        return int(text)
    return parse


def load_weights(path):
    """VGG-19 to relu5_1 by our names, float32."""
    try:
        tensors, meta = golden.read(path)
    except OSError as e:
        fail(f"{path}: expected the weights of VGG-19, found {e.strerror or e}")
    except (ValueError, KeyError, TypeError, MemoryError, OverflowError, struct.error):
        fail(f"{path}: expected safetensors of F16 or F32, found something else")
    if meta.get("input.order", "bgr") != "bgr" or float(meta.get("input.range", 255)) != 255:
        fail(f"{path}: expected a network that sees BGR of 0..255, found "
             f"{meta.get('input.order')} of 0..{meta.get('input.range')}")
    weights, inputs = {}, 3
    for block, name, _ in network.layers("vgg19"):
        outputs = network.CHANNELS[block]
        for what, shape in ((f"conv{name}.weight", (outputs, inputs, 3, 3)),
                            (f"conv{name}.bias", (outputs,))):
            found = tuple(tensors[what].shape) if what in tensors else "none"
            if found != shape:
                fail(f"{path}: {what}: expected {shape}, found {found}")
            weights[what] = tensors[what].float()
        if name == "5_1":
            return weights
        inputs = outputs


def fitted(path, longest):
    """1, 3, H, W of 0..255, float32: at most `longest` on its longer side, as imp_style_size and
    imp_style_fit make it."""
    try:
        rgb = vgg.load(path)
        with PIL.Image.open(path) as picture:
            if picture.info.get("icc_profile"):
                note(f"{path} has a colour profile: impasto applies it, this does not")
    except (OSError, ValueError) as e:
        fail(f"{path}: expected a picture, found {getattr(e, 'strerror', None) or e}")
    h, w = rgb.shape[2:]
    share = min(1.0, longest / max(h, w))
    if min(h, w) * share < 16:
        fail(f"{path}: expected 16 pixels or more on its shorter side, found "
             f"{w} x {h} times {share:.3g}")
    return resized(rgb, *(max(1, math.floor(n * share + 0.5)) for n in (h, w)))


def resized(rgb, height, width):
    if rgb.shape[2:] != (height, width):
        rgb = pil.resize(rgb.double(), height, width, pil.LANCZOS).clamp(0, 255)
    return rgb.float()
