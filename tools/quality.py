#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A study of recipes: paint pairs of pictures by each, judge them, lay them out side by side.

usage: tools/quality.py OUTDIR [--size 384] [--pairs a,b] [--model FILE] [--threads 2] [--keep]
           [--zoom] RECIPE...
       tools/quality.py /tmp/q painterly= bold="--preset bold" --pairs venice,cat

A RECIPE is a name, = and options of `impasto stylize` (its own --model paints, --model judges). Each picture is OUTDIR/<pair>-<name>.png,
painted anew, with --keep only where it is missing. A JSON line a picture, then a table:
    style    mean over relu1_1 .. relu5_1 of sum (g - a)^2 / sum a^2, Gram matrices over H W
    content  sum (X - Y)^2 / sum Y^2 at relu4_2; both of the picture as written (8 bits, clamped)
             at the painted size, by the same VGG-19 with zero padding; lower is nearer
    smaller  style once more, picture and painting at 0.7 of that size, for which nobody painted: a
             style that sits in the pixels rather than in the picture is found out
    ripple   power of the luminance at periods of exactly 2, 4 and 8 pixels over the geometric
             mean of that at frequencies nearby, along rows, columns and both diagonals the
             largest, of each the median over windows of 64 x 64 (Hann): near 1 without weave
    clipped  share of the pixels with a channel at 0 or 255
    seconds  as impasto says; none where the picture was kept
The lines `content` and `painting` are the photograph and the painting themselves at that size:
no picture need have less ripple than they. White noise has 0.9, 1.4 and 1.4. Below some 200 pixels
there are too few windows for ripple to mean much.

OUTDIR/sheet.png has a row a pair: content, style, recipes; --zoom adds OUTDIR/zoom.png, the middle
of each, a quarter of its sides, enlarged. Pictures are of IMPASTO_DATA, else ../shared/data beside
the repository. What is missing or cannot be painted is left out, with a word; status 1 then.
"""
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

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "oracle"))
import network
import vgg
from inputs import count, fail, fitted, load_weights, note, resized
from objective import CONTENT_LAYERS, STYLE_LAYERS, gram

with open(os.path.join(vgg.ROOT, "tools", "pairs.tsv"), encoding="utf-8") as lines:
    PAIRS = {name: files for name, *files in (line.rstrip("\n").split("\t") for line in lines)}
PERIODS, SIDE = (2, 4, 8), 64
PROGRAM = os.path.join(vgg.ROOT, "build", "impasto")


# --- judging ---


class Judge:
    """Of one pair. Both are seen at the painted size, as impasto sees them."""

    def __init__(self, weights, content, style, size):
        self.weights, self.content = weights, fitted(content, size)
        self.wanted = self.see(self.content)
        self.painting = fitted(style, max(self.content.shape))
        self.grams = self.grams_of(self.see(self.painting))
        self.smaller_grams = self.grams_of(self.see(smaller(self.painting)))

    def see(self, rgb):
        with torch.no_grad():
            return network.features(self.weights, network.from_rgb(rgb), "5_1")

    @staticmethod
    def grams_of(seen):
        return {n: gram(seen[n]) for n in STYLE_LAYERS}

    @staticmethod
    def style(grams, targets):
        return sum(relative(grams[n], a) for n, a in targets.items()) / len(targets)

    def __call__(self, rgb):
        """rgb: 1, 3, H, W of 0..255, of whole numbers."""
        sized = resized(rgb, *self.content.shape[2:])
        seen = self.see(sized)
        content = [relative(seen[n], self.wanted[n]) for n in CONTENT_LAYERS]
        return {"style": self.style(self.grams_of(seen), self.grams),
                "smaller": self.style(self.grams_of(self.see(smaller(sized))),
                                      self.smaller_grams),
                "content": sum(content) / len(content), **surface(rgb)}


def smaller(rgb):
    return resized(rgb, *(round(0.7 * n) for n in rgb.shape[2:]))


def relative(x, y):
    return float((x - y).square().sum() / y.square().sum())


def surface(rgb):
    return {"ripple": ripple(rgb[0].numpy()),
            "clipped": float(((rgb <= 0) | (rgb >= 255)).any(1).float().mean())}


def ripple(planes):
    """A figure a period, None where the picture is smaller than a window. A Hann window spreads
    a period's power to the frequencies beside it alone: 2 and 3 away are its neighbours."""
    luma = numpy.tensordot((0.299, 0.587, 0.114), planes, 1)
    step, hann = SIDE // 2, numpy.hanning(SIDE + 1)[:-1]
    windows = [luma[y:y + SIDE, x:x + SIDE]
               for y in range(0, luma.shape[0] - SIDE + 1, step)
               for x in range(0, luma.shape[1] - SIDE + 1, step)]
    windows = numpy.array([w - w.mean() for w in windows if w.std() > 0])
    if not len(windows):
        return [None] * len(PERIODS)
    # what rounding to 8 bits leaves is the floor: a plain window has no ripple
    power = numpy.abs(numpy.fft.fft2(windows * numpy.outer(hann, hann))) ** 2
    power += numpy.sum(numpy.outer(hann, hann) ** 2) / 12

    def at(direction, k):
        return numpy.log(power[:, direction[0] * k % SIDE, direction[1] * k % SIDE])

    def stands_out(direction, k):
        near = sum(at(direction, k + d) for d in (-3, -2, 2, 3)) / 4
        return float(numpy.exp(numpy.median(at(direction, k) - near)))

    return [max(stands_out(d, SIDE // period) for d in ((0, 1), (1, 0), (1, 1), (1, -1)))
            for period in PERIODS]


# --- painting ---


def paint(out, files, options, args):
    """Seconds, None where the picture was kept; ValueError with the reason where it failed."""
    if args.keep and os.path.exists(out):
        return None
    model = [] if "--model" in options else ["--model", args.model]
    run = subprocess.run(
        [PROGRAM, "stylize", *files, "-o", out, "--overwrite", "--json", *model,
         "--threads", str(args.threads), "--size", str(args.size), *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    events = [json.loads(line) for line in run.stdout.splitlines()]
    if run.returncode or not events or events[-1].get("event") != "done":
        said = run.stderr.strip().splitlines() or ["nothing was painted"]
        raise ValueError(f"{said[-1]} (status {run.returncode})")
    return events[-1]["seconds"]


def study(args, recipes):
    """The results, the rows of the sheet (lists of (label, picture)), and how many are missing."""
    weights, results, rows, missing = load_weights(args.model), [], [], 0

    def judged(judge, pair, name, options, out, seconds):
        rgb = vgg.load(out).float() if out else judge.content.round()
        kept = seconds is None  # by which options is not known
        results.append({"pair": pair, "recipe": name, "options": None if kept else options,
                        "picture": out, **judge(rgb), "seconds": seconds})
        print(json.dumps(results[-1]), flush=True)

    for pair in args.pairs:
        found = [sorted(glob.glob(os.path.join(vgg.DATA, name))) for name in PAIRS[pair]]
        if not all(found):
            absent = [name for name, f in zip(PAIRS[pair], found) if not f]
            note(f"{pair}: left out: {vgg.DATA} has no {' and no '.join(absent)}")
            missing += 1
            continue
        files = [f[0] for f in found]
        judge = Judge(weights, *files, args.size)
        judged(judge, pair, "content", None, None, None)
        results.append({"pair": pair, "recipe": "painting", "style": None, "smaller": None,
                        "content": None, **surface(judge.painting.round()), "seconds": None})
        row = [(f"{pair}: content", files[0]), ("style", files[1])]
        for name, options in recipes.items():
            out = os.path.join(args.outdir, f"{pair}-{name}.png")
            try:
                judged(judge, pair, name, options, out, paint(out, files, options, args))
                r = results[-1]
                row.append((f"{name}  s {r['style']:.4f} c {r['content']:.3f}", out))
            except ValueError as e:
                note(f"{pair}: {name}: left out: {e}")
                row.append((f"{name}: left out", None))
                missing += 1
        rows.append(row)
    return results, rows, missing


# --- showing ---


def table(results):
    wide = max([len("recipe")] + [len(r["recipe"]) for r in results])
    print(f"\n{'pair':8} {'recipe':{wide}} {'style':>7} {'smaller':>7} {'content':>7} "
          + " ".join(f"{f'ripple{p}':>7}" for p in PERIODS) + f" {'clipped':>7} {'seconds':>7}")
    for r in results:
        waves = " ".join(f"{'-' if x is None else f'{x:.2f}':>7}" for x in r["ripple"])
        style, small, content, seconds = (
            "-" if r[name] is None else f"{r[name]:.{digits}f}"
            for name, digits in (("style", 4), ("smaller", 4), ("content", 3), ("seconds", 1)))
        print(f"{r['pair']:8} {r['recipe']:{wide}} {style:>7} {small:>7} {content:>7} "
              f"{waves} {100 * r['clipped']:6.2f}% {seconds:>7}")


def cell_of(path, cell, zoom):
    picture = PIL.Image.open(path).convert("RGB")
    if zoom:
        w, h = picture.size
        picture = picture.crop((3 * w // 8, 3 * h // 8, w - 3 * w // 8, h - 3 * h // 8))
    scale = cell / max(picture.size)
    size = tuple(max(1, round(n * scale)) for n in picture.size)
    return picture.resize(size, PIL.Image.NEAREST if zoom else PIL.Image.LANCZOS)


def sheet(path, rows, cell, zoom=False):
    label, gap = 14, 4
    canvas = PIL.Image.new(
        "RGB", ((cell + gap) * max(map(len, rows)), (cell + label) * len(rows)), "white")
    draw = PIL.ImageDraw.Draw(canvas)
    for j, row in enumerate(rows):
        for i, (text, name) in enumerate(row):
            x, y = i * (cell + gap), j * (cell + label)
            if name:
                canvas.paste(cell_of(name, cell, zoom), (x, y + label))
            text = text[:cell // 6].encode("ascii", "replace").decode()  # letters are 6 wide
            draw.text((x + 2, y + 1), text, fill="black")
    canvas.save(path)
    print(path)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outdir")
    parser.add_argument("recipes", nargs="+", metavar="NAME=OPTIONS")
    parser.add_argument("--size", type=count(32), default=384)
    parser.add_argument("--pairs", type=lambda s: s.split(","), default=list(PAIRS))
    parser.add_argument(
        "--model", default=os.path.join(vgg.DATA, "vgg19", "vgg19-conv.safetensors"))
    parser.add_argument("--threads", type=count(1), default=2)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--zoom", action="store_true")
    args = parser.parse_args()
    for pair in args.pairs:
        if pair not in PAIRS:
            parser.error(f"--pairs: expected some of {', '.join(PAIRS)}, found {pair!r}")
    recipes = {}
    for text in args.recipes:
        name, equals, options = text.partition("=")
        if not equals or not name or "/" in name or name in recipes:
            parser.error(f"expected NAME=OPTIONS, each NAME once, found {text!r}")
        recipes[name] = shlex.split(options)
    if not os.access(PROGRAM, os.X_OK):
        fail(f"{PROGRAM}: not built: script/build")
    torch.set_num_threads(args.threads)
    os.makedirs(args.outdir, exist_ok=True)
    results, rows, missing = study(args, recipes)
    if results:
        table(results)
        sheet(os.path.join(args.outdir, "sheet.png"), rows, 256)
        if args.zoom:
            sheet(os.path.join(args.outdir, "zoom.png"), rows, 384, zoom=True)
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
