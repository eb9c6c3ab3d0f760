#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Style transfer in PyTorch with the settings of neural-style-pt: a rival to race impasto with.

usage: tools/neural_style.py CONTENT STYLE -o OUT [--model FILE] [--size 512] [--iterations 1000]
           [--init random|content] [--tv 1e-3] [--optimizer lbfgs|adam] [--threads 2] [--seed 0]
           [--device cpu|cuda] [--save-start FILE] [--json]
       tools/neural_style.py [CONTENT STYLE] --ours [--save-start FILE] [...]
           print the options that give `impasto stylize` the same objective, size and start

VGG-19 with maximum pooling and zero padding sees BGR of 0..255 without the mean. With X the
features of the picture, Y of the content, G and A Gram matrices over C H W:
    loss = 5 mean (X - Y)^2 at relu4_2 + 100 sum over relu1_1 .. relu5_1 of mean (G - A)^2
           + TV sum |differences of neighbours|
L-BFGS is torch's: step 1, history 100, tolerances -1, no line search; Adam's step is 1. A random
start is a thousandth of a normal deviate round the mean colour. Weights are Oxford's, by our
names, F16 or F32; without --model those of IMPASTO_DATA, else of ../shared/data. Not as
neural-style-pt: pictures are resized as impasto does it (Lanczos, in floating point, sides
rounded to the nearest, never enlarged), so that both programs see the same numbers. On a GPU
convolutions are of whole floats (no TF32).

--json prints a line a loss, "iteration" the steps before it: {"event": "progress", "iteration",
"loss", "content", "style", "tv", "seconds"}, the terms with their weights, then "done". Seconds
count from the start, with all that is read, without Python's imports. --iterations 0 prints the
loss of the start and writes no picture.

--save-start writes the start as PNG of 16 bits, in steps of 1/257, and starts from it as it was
written: `impasto --init FILE` reads the same numbers. A random start is then noise of one or two
such steps. --ours: with g = C G, Lc = 1/2 mean (X - Y)^2, Ll = 1/4 mean (g - a)^2 (objective.c),
    5 mean (X - Y)^2 = 10 Lc          so the content's weight is 10;
    100 mean (G - A)^2 = 400 / C^2 Ll so the style's is 400, and a layer's 1 / C^2.
impasto squares its total variation, so it has no option for TV: compare with --tv 0."""
import argparse
import json
import math
import os
import shlex
import struct
import sys
import time
import zlib

import PIL.Image
import numpy
import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "oracle"))
import network
import vgg
from inputs import count, fail, fitted, load_weights, note
from objective import CONTENT_LAYERS, STYLE_LAYERS, gram

CONTENT_WEIGHT, STYLE_WEIGHT = 5.0, 100.0
NOISE = 0.001


def check_blas():
    """PyTorch is several times slower on the reference BLAS, which is no rival."""
    torch.mm(torch.ones(2, 2), torch.ones(2, 2))
    with open("/proc/self/maps", encoding="utf-8") as f:
        maps = f.read()
    if "openblas" not in maps and "libmkl" not in maps and not torch.backends.mkl.is_available():
        note("PyTorch runs on a slow BLAS: install libopenblas0-pthread")


# --- the start ---


def to_rgb(x):
    """From the network's input to H, W, 3 of 0..255, double."""
    rgb = x.detach().cpu().double() + torch.tensor(network.MEAN, dtype=torch.float64).view(1, 3, 1, 1)
    return rgb.flip(1).clamp(0, 255)[0].permute(1, 2, 0).numpy()


def save_start(path, x):
    """x, BGR without the mean, written as PNG of 16 bits, and what was written."""
    words = numpy.rint(to_rgb(x) * 257).astype(">u2")
    h, w = words.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in words)
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n")
        for kind, data in ((b"IHDR", struct.pack(">IIBBBBB", w, h, 16, 2, 0, 0, 0)),
                           (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
            f.write(struct.pack(">I", len(data)) + kind + data
                    + struct.pack(">I", zlib.crc32(kind + data)))
    rgb = torch.from_numpy(words.astype("f4") / numpy.float32(257)).permute(2, 0, 1)[None]
    return network.from_rgb(rgb).contiguous()


# --- the objective ---


class Objective:
    def __init__(self, weights, content, style, tv):
        self.weights, self.tv = weights, tv
        with torch.no_grad():
            found = self.see(content)
            self.contents = {n: found[n] for n in CONTENT_LAYERS}
            found = self.see(style)
            self.grams = {n: gram(found[n]) / found[n].shape[1] for n in STYLE_LAYERS}

    def see(self, x):
        return network.features(self.weights, x, "5_1")

    def __call__(self, x):
        """The terms with their weights."""
        found = self.see(x)
        content = sum((found[n] - y).square().mean() for n, y in self.contents.items())
        style = sum((gram(found[n]) / found[n].shape[1] - a).square().mean()
                    for n, a in self.grams.items())
        rough = ((x[:, :, 1:] - x[:, :, :-1]).abs().sum()
                 + (x[:, :, :, 1:] - x[:, :, :, :-1]).abs().sum())
        return {"content": CONTENT_WEIGHT * content, "style": STYLE_WEIGHT * style,
                "tv": self.tv * rough}


def ours(args):
    layers = ",".join(repr(1 / c ** 2) for c in network.CHANNELS)
    options = {"model": args.model, "preset": "gatys", "size": args.size, "first-size": 0,
               "iterations": args.iterations, "tolerance": 0, "optimizer": args.optimizer,
               "precondition": 1, "rate": 1, "objective": "plain", "style-loss": "gram",
               "content-layers": ",".join(CONTENT_LAYERS), "content-weight": 2 * CONTENT_WEIGHT,
               "style-layers": ",".join(STYLE_LAYERS), "style-weight": 4 * STYLE_WEIGHT,
               "layer-weights": layers, "tv-weight": 0, "range-weight": 0, "pooling": "max",
               "padding": "zero", "keep-colors": "none", "init": args.save_start or args.init}
    if options["init"] == "random":
        options["init"] = "noise"
        note("without --save-start impasto's noise is its own, and stronger")
    if args.tv:
        note("impasto has no such total variation: compare with --tv 0")
    return " ".join(f"--{k} {shlex.quote(str(v))}" for k, v in options.items())


# --- painting ---


def paint(objective, x, args, begun):
    """x is changed in place. Returns the last progress."""
    x.requires_grad_(True)
    last = {"event": "progress", "iteration": -1}

    def closure():
        optimiser.zero_grad()
        terms = objective(x)
        loss = sum(terms.values())
        last.update(iteration=last["iteration"] + 1, loss=loss.item(),
                    **{name: float(value) for name, value in terms.items()},
                    seconds=round(time.perf_counter() - begun, 3))
        if not math.isfinite(last["loss"]):
            fail(f"the loss diverged at iteration {last['iteration']}")
        show(last, args)
        if torch.is_grad_enabled():
            loss.backward()
        return loss

    if args.optimizer == "lbfgs":
        optimiser = torch.optim.LBFGS([x], lr=1, max_iter=args.iterations, history_size=100,
                                      max_eval=2 * args.iterations + 2, tolerance_grad=-1,
                                      tolerance_change=-1)
    else:
        optimiser = torch.optim.Adam([x], lr=1.0)
    for _ in range(min(args.iterations, 1) if args.optimizer == "lbfgs" else args.iterations):
        optimiser.step(closure)
    with torch.no_grad():
        closure()  # of the picture as it is now
    return last


def show(event, args):
    if args.json:
        print(json.dumps(event), flush=True)
    elif event["event"] == "progress":
        print("{iteration:5d}  loss {loss:.6g}  content {content:.6g}  style {style:.6g}  "
              "tv {tv:.4g}  {seconds:.1f} s".format(**event), flush=True)


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", metavar="CONTENT STYLE")
    parser.add_argument("-o", dest="out", metavar="OUT")
    parser.add_argument(
        "--model", default=os.path.join(vgg.DATA, "vgg19", "vgg19-conv.safetensors"))
    parser.add_argument("--size", type=count(32), default=512)
    parser.add_argument("--iterations", type=count(0), default=1000)
    parser.add_argument("--init", choices=("random", "content"), default="random")
    parser.add_argument("--tv", type=float, default=1e-3)
    parser.add_argument("--optimizer", choices=("lbfgs", "adam"), default="lbfgs")
    parser.add_argument("--threads", type=count(1), default=2)
    parser.add_argument("--seed", type=count(0), default=0)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--save-start", metavar="FILE")
    parser.add_argument("--ours", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    wanted = 2 if not args.ours or args.pictures or args.save_start else 0
    if len(args.pictures) != wanted:
        parser.error(f"expected CONTENT and STYLE, found {len(args.pictures)} pictures")
    if not args.ours and args.iterations and not args.out:
        parser.error("expected -o OUT")
    for path in filter(None, (args.out, args.save_start)):  # not after a thousand iterations
        folder = os.path.dirname(path) or "."
        if not os.path.isdir(folder):
            fail(f"{path}: no folder {folder}")
    PIL.Image.init()
    if args.out and os.path.splitext(args.out)[1].lower() not in PIL.Image.EXTENSION:
        fail(f"{args.out}: expected the name of a picture, such as out.png")
    return args


def main():
    begun, args = time.perf_counter(), arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    torch.backends.cudnn.allow_tf32 = False
    check_blas()
    if args.ours:
        print(ours(args))
        if not args.save_start:
            return
    content = fitted(args.pictures[0], args.size)
    style = fitted(args.pictures[1], max(content.shape))
    content, style = (network.from_rgb(rgb).contiguous() for rgb in (content, style))
    x = NOISE * torch.randn(content.shape) if args.init == "random" else content.clone()
    try:
        if args.save_start:
            x = save_start(args.save_start, x)
        if args.ours:
            return
        weights = {k: v.to(args.device) for k, v in load_weights(args.model).items()}
        content, style, x = (t.to(args.device) for t in (content, style, x))
        last = paint(Objective(weights, content, style, args.tv), x, args, begun)
        if args.iterations:
            PIL.Image.fromarray(numpy.rint(to_rgb(x)).astype("u1")).save(args.out)
    except OSError as e:
        fail(f"{e.filename or args.out}: {e.strerror or e}")
    show({**last, "event": "done", "output": args.out if args.iterations else None,
          "width": x.shape[3], "height": x.shape[2]}, args)


if __name__ == "__main__":
    main()
