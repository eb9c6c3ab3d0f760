#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Paint pairs of pictures by recipes, judge them, and lay them out beside each other.

usage: tools/oracle/quality.py OUTDIR NAME=OPTIONS... [--size 384] [--pairs a,b] [--model FILE]
       tools/oracle/quality.py /tmp/q default= bold="--preset bold" --pairs venice,cat

Each recipe is options of `impasto stylize`; each picture is OUTDIR/<pair>-<name>.png, painted
unless it is there. Prints a line a picture: style, the mean over relu1_1 .. relu5_1 of
sum (g - a)^2 / sum a^2; content, sum (X - Y)^2 / sum Y^2 at relu4_2, both of the picture as it
was written, by Oxford's VGG-19 with zero padding; ripple, how much stronger periods of 2, 4 and 8
pixels are than their neighbours in the spectrum (1: not at all); seconds. OUTDIR/sheet.png has a
row a pair: content, painting, recipes. The pairs are of IMPASTO_DATA, else ../shared/data beside
the repository; a pair that is not there is left out, with a word."""
import argparse
import glob
import json
import os
import shlex
import subprocess
import sys

import PIL.Image
import PIL.ImageDraw
import numpy
import torch

import golden
import network
import vgg
from objective import CONTENT_LAYERS, STYLE_LAYERS, gram

PAIRS = {
    "venice": ("images/venice.jpg", "images/starry-night.jpg"),
    "cat": ("images/cat.jpg", "images/the-scream.jpg"),
    "woman": ("photographs/clic25_75a068d603*.jpg",
              "paintings/van-gogh-self-portrait-with-a-straw-hat.jpg"),
    "street": ("photographs/cid22_px1130297.jpg",
               "paintings/hokusai-fine-wind-clear-morning.jpg"),
    "lake": ("photographs/clic25_0cb1e50c33*.jpg", "paintings/signac-la-calanque.jpg"),
    "hat": ("photographs/kodak_04.jpg",
            "paintings/anon-canterbury-cathedral-stained-glass.jpg"),
    "alpaca": ("photographs/cid22_3396657.jpg", "paintings/durer-apocalypse.jpg"),
    "house": ("photographs/cid22_106399.jpg", "paintings/monet-impression-sunrise.jpg"),
}


def pixels(path, longest=None, size=None):
    """1, 3, H, W of 0..255, float32: at most `longest` long, or of a (width, height)."""
    picture = PIL.Image.open(path).convert("RGB")
    if longest:
        scale = min(1.0, longest / max(picture.size))
        size = tuple(max(1, round(n * scale)) for n in picture.size)
    if size != picture.size:
        picture = picture.resize(size, PIL.Image.LANCZOS)
    return torch.from_numpy(numpy.array(picture).transpose(2, 0, 1)[None].astype("f4"))


class Judge:
    def __init__(self, model):
        self.weights = {k: t.float() for k, t in golden.read(model)[0].items()}

    def see(self, x):
        with torch.no_grad():
            return network.features(self.weights, network.from_rgb(x), "5_1")

    def __call__(self, picture, content, style, longest):
        y = pixels(content, longest)
        wanted, found = self.see(y), self.see(pixels(picture, size=tuple(y.shape[:1:-1])))
        a = self.see(pixels(style, longest))
        style_error = sum(relative(gram(found[n]), gram(a[n])) for n in STYLE_LAYERS)
        content_error = sum(relative(found[n], wanted[n]) for n in CONTENT_LAYERS)
        return style_error / len(STYLE_LAYERS), content_error / len(CONTENT_LAYERS)


def relative(x, y):
    return float((x - y).square().sum() / y.square().sum())


def ripple(path, side=64):
    """For periods of 2, 4 and 8: power of the luminance at them over that nearby, the largest
    of rows, columns and diagonals; the median over windows."""
    luma = numpy.asarray(PIL.Image.open(path).convert("L"), float)
    hann = numpy.hanning(side)[:, None] * numpy.hanning(side)
    windows = [luma[y:y + side, x:x + side] for y in range(0, luma.shape[0] - side + 1, side // 2)
               for x in range(0, luma.shape[1] - side + 1, side // 2)]
    if not windows:
        return [float("nan")] * 3
    power = numpy.median([numpy.abs(numpy.fft.fft2((w - w.mean()) * hann)) ** 2
                          for w in windows], axis=0)
    found = []
    for k in (side // 2, side // 4, side // 8):
        ratios = []
        for v, u in ((0, k), (k, 0), (k, k)):
            near = [power[(v + dv) % side, (u + du) % side]
                    for dv in (-3, -2, 2, 3) for du in (-3, -2, 2, 3)]
            ratios.append(power[v % side, u % side] / numpy.median(near))
        found.append(max(ratios))
    return found


def paint(out, content, style, args, options):
    """Seconds, or None where the picture was there."""
    if os.path.exists(out):
        return None
    program = os.path.join(vgg.ROOT, "build", "impasto")
    run = subprocess.run([program, "stylize", content, style, "-o", out, "--model", args.model,
                          "--size", str(args.size), "--json", *shlex.split(options)],
                         stdout=subprocess.PIPE, text=True, check=True)
    done = [json.loads(line) for line in run.stdout.splitlines() if '"done"' in line]
    return done[-1]["seconds"]


def sheet(path, rows, cell=256):
    """rows: lists of (label, file)."""
    canvas = PIL.Image.new("RGB", (cell * max(map(len, rows)), (cell + 14) * len(rows)), "white")
    draw = PIL.ImageDraw.Draw(canvas)
    for j, row in enumerate(rows):
        for i, (label, name) in enumerate(row):
            picture = PIL.Image.open(name).convert("RGB")
            picture.thumbnail((cell, cell), PIL.Image.LANCZOS)
            canvas.paste(picture, (i * cell, j * (cell + 14) + 14))
            draw.text((i * cell + 2, j * (cell + 14) + 1), label, fill="black")
    canvas.save(path)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outdir")
    parser.add_argument("recipe", nargs="+")
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--pairs", default=",".join(PAIRS))
    parser.add_argument(
        "--model", default=os.path.join(vgg.DATA, "vgg19", "vgg19-conv.safetensors"))
    args = parser.parse_args()
    recipes = [recipe.partition("=")[::2] for recipe in args.recipe]
    if not os.path.exists(args.model):
        sys.exit(f"quality.py: {args.model}: expected a VGG-19, found nothing")
    judge = Judge(args.model)
    os.makedirs(args.outdir, exist_ok=True)
    rows = []
    for pair in args.pairs.split(","):
        files = [(glob.glob(os.path.join(vgg.DATA, f)) + [None])[0] for f in PAIRS[pair]]
        if None in files:
            print(f"{pair}: left out, its pictures are not in {vgg.DATA}")
            continue
        row = [("content", files[0]), ("painting", files[1])]
        for name, options in recipes:
            out = os.path.join(args.outdir, f"{pair}-{name}.png")
            seconds = paint(out, *files, args, options)
            style, content = judge(out, *files, args.size)
            print(f"{pair:8} {name:12} style {style:.4f} content {content:.4f} ripple",
                  *(f"{r:.2f}" for r in ripple(out)),
                  f"{seconds:.1f} s" if seconds else "(was there)", flush=True)
            row.append((f"{pair} {name} {style:.3f} {content:.2f}", out))
        rows.append(row)
    if rows:
        sheet(os.path.join(args.outdir, "sheet.png"), rows)


if __name__ == "__main__":
    main()
