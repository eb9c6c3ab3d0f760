#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Style transfer in PyTorch with the settings of neural-style-pt, to be raced with impasto.

usage: tools/oracle/rival.py CONTENT STYLE OUT [--size 512] [--iterations 1000]
           [--init random|content] [--tv 1e-3] [--threads 2] [--model FILE]
       tools/oracle/rival.py --ours

Content relu4_2, weight 5, mean squared error; style relu1_1, 2_1, 3_1, 4_1, 5_1, weight 100
each, mean squared error of Gram matrices divided by C H W; total variation in absolute values;
zero padding, maximum pooling; torch.optim.LBFGS, step 1, history 100, no line search; values
of 0..255 without the mean; a random start is a thousandth of a normal one. Prints a JSON line an
evaluation: iteration, loss (without total variation), seconds.

--ours prints the options that set impasto to this objective. With theirs
    5 mean (X-Y)^2 = 10 Lc,   100 mean (g/C - a/C)^2 = 100 4 / C^2 Ll,
since Lc = 1/2 mean (X-Y)^2 and Ll = 1/4 mean (g-a)^2 with g divided by H W alone."""
import argparse
import json
import os
import sys
import time

import PIL.Image
import torch

import golden
import network
import vgg
from objective import CONTENT_LAYERS, STYLE_LAYERS, gram
from quality import pixels

CHANNELS = (64, 128, 256, 512, 512)


def ours():
    weights = ",".join(f"{1 / c ** 2:.9g}" for c in CHANNELS)
    return ("--preset gatys --objective plain --content-weight 10 --style-weight 400 "
            f"--layer-weights {weights} --padding zero --range-weight 0")


class Objective:
    def __init__(self, weights, content, style, tv):
        self.weights, self.tv = weights, tv
        with torch.no_grad():
            self.content = {n: self.see(content)[n] for n in CONTENT_LAYERS}
            found = self.see(style)
            self.grams = {n: gram(found[n]) / found[n].shape[1] for n in STYLE_LAYERS}

    def see(self, x):
        return network.features(self.weights, x, "5_1")

    def __call__(self, x):
        """The loss without, and with total variation."""
        found = self.see(x)
        loss = sum(5 * (found[n] - y).square().mean() for n, y in self.content.items())
        for n, a in self.grams.items():
            loss = loss + 100 * (gram(found[n]) / found[n].shape[1] - a).square().mean()
        rough = ((x[:, :, 1:] - x[:, :, :-1]).abs().sum()
                 + (x[:, :, :, 1:] - x[:, :, :, :-1]).abs().sum())
        return loss, loss + self.tv * rough


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", metavar="CONTENT STYLE OUT")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--init", choices=("random", "content"), default="random")
    parser.add_argument("--tv", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ours", action="store_true")
    parser.add_argument(
        "--model", default=os.path.join(vgg.DATA, "vgg19", "vgg19-conv.safetensors"))
    args = parser.parse_args()
    if args.ours:
        return print(ours())
    if len(args.pictures) != 3:
        sys.exit("rival.py: expected CONTENT STYLE OUT")
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    weights = {k: t.float() for k, t in golden.read(args.model)[0].items()}
    content, style = (network.from_rgb(pixels(p, args.size)) for p in args.pictures[:2])
    objective = Objective(weights, content, style, args.tv)
    x = content if args.init == "content" else 0.001 * torch.randn(content.shape)
    x = x.contiguous().clone()
    x.requires_grad_(True)
    optimiser = torch.optim.LBFGS([x], max_iter=args.iterations, max_eval=2 ** 31,
                                  history_size=100, tolerance_grad=-1, tolerance_change=-1)
    begun, done = time.time(), 0

    def closure():
        nonlocal done
        optimiser.zero_grad()
        loss, total = objective(x)
        total.backward()
        print(json.dumps({"event": "progress", "iteration": done, "loss": loss.item(),
                          "seconds": round(time.time() - begun, 2)}), flush=True)
        done += 1
        return total

    optimiser.step(closure)
    rgb = x.detach() + torch.tensor(network.MEAN).view(1, 3, 1, 1)
    rgb = rgb.flip(1).clamp(0, 255).round().byte()[0].permute(1, 2, 0).numpy()
    PIL.Image.fromarray(rgb).save(args.pictures[2])


if __name__ == "__main__":
    main()
