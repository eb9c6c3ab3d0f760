#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The full VGG-16 or VGG-19 in PyTorch, on real pictures. Nothing that it writes is committed.

usage: tools/oracle/vgg.py classify MODEL PICTURE... [--fit crop|squash] [--round] [-o OUT]
           the five best of each picture; OUT: logits.0, logits.1, ... (float32)
       tools/oracle/vgg.py photos MODEL [--fit crop|squash] [--round] [-o OUT]
           accuracy on photos/ sorted by name, positions 3, 8, ..., 998
       tools/oracle/vgg.py compare MODEL PICTURE... [--fit ...] [--program build/impasto]
           PyTorch's logits beside those of `impasto classify --json --top <classes>`
       tools/oracle/vgg.py style [--model CONVOLUTIONS] [--size 256] [-o OUT]
           loss and gradient in double of the normalised and the classic objective on
           venice.jpg in the style of starry-night.jpg

MODEL is a safetensors file with our names: one assembled from the data folder is the
real one, `build/impasto model init vgg19 --seed N -o FILE` a seeded one. Its metadata tell
the order of channels, mean, deviation, fit and flatten. The data are looked for in
IMPASTO_DATA, else in ../shared/data beside the repository.

A picture is resized in floating point and clamped to 0..255, as impasto does it; --round
rounds it to whole numbers too, as PIL does with a picture of 8 bits (the figures of the
data's README). crop: short side size x 8/7, the other in proportion and cut short; centre.

compare gives a picture, decoded, to the program as a PNG, so that decoders do not count.
A probability gives the logit but for a constant: both lists are compared without their mean,
relative to the largest. A seeded network's logits lie so far apart that most probabilities
are 0: the program is then given a copy of the model with the last layer scaled down.

The file of `style` holds, float32, content and style (planar R, G, B, of longest side SIZE),
start (content and noise), and for o = normalised and classic, float64, <o>.loss,
<o>.content, <o>.style and <o>.gradient as style.py has them.
"""
import argparse
import json
import math
import os
import subprocess
import sys
import tempfile

import PIL.Image
import PIL.ImageOps
import numpy
import torch

import golden
import network
import pil
from objective import Objective
from style import OBJECTIVES

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
SEEN = 60.0  # a range of logits that leaves all probabilities above float32's smallest
DATA = os.environ.get("IMPASTO_DATA", os.path.normpath(os.path.join(ROOT, "../shared/data")))


class Model:
    """A classifier's weights, float32, and how it wants its input."""

    def __init__(self, path):
        tensors, meta = golden.read(path)
        self.weights = {k: t.float() for k, t in tensors.items()}
        self.architecture = meta.get("architecture", "vgg19")
        self.flatten = meta.get("flatten", "chw")
        self.size = int(meta.get("input.size", "224"))
        self.fit = meta.get("input.fit", "crop")
        self.order = meta.get("input.order", "bgr")
        self.range = float(meta.get("input.range", "255"))
        mean = meta.get("input.mean", ",".join(map(str, network.MEAN)))
        self.mean, self.std = (
            torch.tensor([float(v) for v in text.split(",")], dtype=torch.float64).view(1, 3, 1, 1)
            for text in (mean, meta.get("input.std", "1,1,1")))

    def logits(self, rgb):
        """rgb: 1, 3, size, size of 0..255, double."""
        x = rgb.flip(1) if self.order == "bgr" else rgb
        x = ((x * (self.range / 255.0) - self.mean) / self.std).float()
        with torch.no_grad():
            return network.logits(self.weights, x, self.flatten, self.architecture)[0].double()


def load(path):
    """1, 3, H, W of 0..255, double."""
    picture = PIL.ImageOps.exif_transpose(PIL.Image.open(path)).convert("RGB")
    planes = numpy.array(picture).transpose(2, 0, 1)
    return torch.from_numpy(planes.astype("f8"))[None]


def fit(rgb, size, how, rounded=False):
    h, w = rgb.shape[2:]
    if how == "squash":
        high = wide = size
    else:
        short = size * 8 // 7
        high = short if h <= w else short * h // w
        wide = short if w <= h else short * w // h
    x = rgb if (high, wide) == (h, w) else pil.resize(rgb, high, wide, pil.BICUBIC)
    top, left = (high - size) // 2, (wide - size) // 2
    x = x[:, :, top:top + size, left:left + size].clamp(0, 255)
    return x.round() if rounded else x


def labels():
    names = {}
    with open(os.path.join(DATA, "imagenet-classes.tsv"), encoding="utf-8") as f:
        for line in f:
            fields = line.rstrip("\n").split("\t")
            if fields[0].isdigit():
                names[int(fields[0])] = fields[2]
    return names


def classify(args):
    model, names, out = Model(args.model), labels(), {}
    for i, path in enumerate(args.pictures):
        z = model.logits(fit(load(path), model.size, args.fit or model.fit, args.round))
        p, ids = z.softmax(0).topk(5)
        out[f"logits.{i}"] = z.float()
        print(path, "  ".join(f"{k} {names.get(k, k)} {v:.4f}"
                              for k, v in zip(ids.tolist(), p.tolist())))
    if args.out:
        golden.write(args.out, out, {"fit": args.fit or model.fit})


def photos(args):
    model, folder = Model(args.model), os.path.join(DATA, "photos")
    files = sorted(f for f in os.listdir(folder) if f.endswith(".jpg"))
    out, first, five = {}, 0, 0
    positions = range(3, len(files), 5)
    for k in positions:
        rgb = load(os.path.join(folder, files[k]))
        z = model.logits(fit(rgb, model.size, args.fit or model.fit, args.round))
        best = z.topk(5).indices.tolist()
        first, five = first + (best[0] == k), five + (k in best)
        out[f"logits.{k}"] = z.float()
    print(f"{len(positions)} pictures: top-1 {100 * first / len(positions):.1f} %, "
          f"top-5 {100 * five / len(positions):.1f} %")
    if args.out:
        golden.write(args.out, out, {"fit": args.fit or model.fit})


def ours(program, model, picture, how, classes):
    """The program's probabilities, by class."""
    command = [program, "classify", picture, "--model", model, "--json", "--top", str(classes)]
    text = subprocess.run(command + ["--fit", how], check=True, capture_output=True,
                          text=True).stdout
    for line in text.splitlines():
        event = json.loads(line)
        if event.get("event") == "result":
            p = torch.zeros(classes, dtype=torch.float64)
            for top in event["top"]:
                p[top["id"]] = top["probability"]
            return p
    raise SystemExit(f"{program}: no result in {text!r}")


def soften(model, path, out, range_):
    """Where logits are too far apart for all probabilities to be seen, write the model again
    with its last layer times a power of two that makes it so, and take that one."""
    factor = 2.0 ** math.floor(math.log2(SEEN / range_)) if range_ > SEEN else 1.0
    if factor == 1:
        return path, factor
    for name in ("fc8.weight", "fc8.bias"):
        model.weights[name] *= factor
    golden.write(out, model.weights, golden.header(path)[0].get("__metadata__", {}))
    return out, factor


def compare(args):
    model, bad, inputs = Model(args.model), 0, []
    with tempfile.TemporaryDirectory() as folder:
        for i, path in enumerate(args.pictures):
            rgb, how = load(path), args.fit or model.fit
            png = os.path.join(folder, f"{i}.png")
            planes = rgb[0].numpy().astype("u1").transpose(1, 2, 0)
            PIL.Image.fromarray(numpy.ascontiguousarray(planes)).save(png)
            inputs.append((path, png, model.logits(fit(rgb, model.size, how))))
        widest = max((z.max() - z.min()).item() for _, _, z in inputs)
        shown, factor = soften(model, args.model, os.path.join(folder, "m.safetensors"), widest)
        if factor != 1:
            print(f"logits times {factor:g}, so that all probabilities are seen")
        for path, png, z in inputs:
            z = z * factor
            p = ours(args.program, shown, png, how, len(z))
            q = z.softmax(0)
            a, b = p.clamp(min=1e-45).log(), q.log()
            a, b = a - a.mean(), b - b.mean()
            worst = ((a - b).abs().max() / b.abs().max()).item()
            bad += not worst <= args.tolerance
            print(f"{path} {how}: first {p.argmax()} {p.max():.6f}, PyTorch {q.argmax()} "
                  f"{q.max():.6f}; {len(z)} logits, worst relative {worst:.2g}"
                  f"{'' if worst <= args.tolerance else '   TOO FAR'}")
    sys.exit(1 if bad else 0)


def style(args):
    path = args.model or os.path.join(DATA, "vgg19", "vgg19-conv.safetensors")
    weights = {k: t.double() for k, t in golden.read(path)[0].items()}
    pictures = {}
    for what, name in (("content", "venice.jpg"), ("style", "starry-night.jpg")):
        x = load(os.path.join(DATA, "images", name))
        high, wide = (max(1, math.floor(n * args.size / max(x.shape[2:]) + 0.5))
                      for n in x.shape[2:])
        pictures[what] = pil.resize(x, high, wide, pil.BICUBIC).clamp(0, 255).float()
    random = torch.Generator()
    random.manual_seed(7)
    content = pictures["content"]
    pictures["start"] = content + 8 * torch.randn(content.shape, generator=random)
    out = dict(pictures)
    for name in ("normalised", "classic"):
        o = Objective(weights, content.double(), pictures["style"].double(), **OBJECTIVES[name])
        x = pictures["start"].double().requires_grad_(True)
        loss, c, s, _ = o.terms(x)
        out[f"{name}.gradient"] = torch.autograd.grad(loss, x)[0]
        for what, v in (("loss", loss), ("content", c), ("style", s)):
            out[f"{name}.{what}"] = torch.tensor([v.item()], dtype=torch.float64)
        print(f"{name} {content.shape[3]} x {content.shape[2]}: loss {loss.item():.12g} "
              f"C {c.item():.9g} S {s.item():.9g}")
    golden.write(args.out or "/tmp/vgg-style.safetensors", out, {"model": path})


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("classify", "photos", "compare"):
        p = commands.add_parser(name)
        p.add_argument("model")
        if name != "photos":
            p.add_argument("pictures", nargs="+")
        p.add_argument("--fit", choices=("crop", "squash"))
        if name == "compare":
            p.add_argument("--program", default=os.path.join(ROOT, "build", "impasto"))
            p.add_argument("--tolerance", type=float, default=1e-4)
        else:
            p.add_argument("--round", action="store_true")
            p.add_argument("-o", dest="out")
    p = commands.add_parser("style")
    p.add_argument("--model")
    p.add_argument("--size", type=int, default=256)
    p.add_argument("-o", dest="out")
    args = parser.parse_args()
    {"classify": classify, "photos": photos, "compare": compare, "style": style}[args.command](args)


if __name__ == "__main__":
    main()
