#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Golden numbers of the whole style objective on a narrow VGG-19, by PyTorch in double.

usage: tools/oracle/style.py [OUT]        (default tests/golden/style.safetensors)
       tools/oracle/style.py --float32    how far float32 runs stray from the golden one

The file is itself a model file, float32: conv1_1.weight (O, I, 3, 3), conv1_1.bias (O) ...
conv5_1.bias, a VGG-19 with channels / 16, and the metadata that says so. Besides, images
(planar R, G, B, 0..255, float32, 1, 3, H, W):
  small.content (40 x 56, rows x columns), small.start (content and noise), large.content
  (64 x 64), style (48 x 40), large.classic.start (0.5 content + 0.5 u, u uniform in
  [-20, 20], in mean-removed space)
and, float64, for the objectives o = normalised, normalised_tv, classic, classic_avg and
plain_tv (balanced weights: the content counts in the gradient):
  small.<o>.attr      [normalised, cw or alpha, sw or beta, tv or gamma, replicate, average]
  small.<o>.loss      [the objective at small.start]
  small.<o>.content   [C, the mean of Lc over the content layers]
  small.<o>.style     [S, the sum of Ll / 5]
  small.<o>.gradient  of the objective by the image (1, 3, H, W)
  small.<o>.errors    sums of squared errors: relu4_2 (features), then relu1_1, 2_1, 3_1,
                      4_1, 5_1 (Gram matrices divided by H W)
  small.<o>.targets   sums of squares of the targets, in the same order
  small.<o>.features  rows relu1_1, relu1_2, ... relu5_1: sum, sum of squares, at small.start
Trajectories at 64 x 64 for o = normalised (from large.content) and classic (from its start):
  large.<o>.adam      21 losses: before steps 1 .. 20, and at the end. Rate 1 in values of
                      0..255, b1 0.9, b2 0.999, eps 1e-8
  large.<o>.lbfgs     11 losses: at the start and after each of 10 iterations (lbfgs.py,
                      history 10)
  large.<o>.lbfgs_evaluations   of the loss, so far, at the same moments
  large.<o>.preconditioned, large.<o>.preconditioned_evaluations   the same with M of
                      precondition.py, gain GAIN
For the normalised objective both optimisers are given loss and gradient times 3HW; the
losses stored are unscaled. classic is not scaled.

From half of all starts float32 flips a ReLU or a pool somewhere on the way, and L-BFGS makes
1 % of it in ten iterations. START is one from which it does not: --float32 runs from starts
moved by a rounding error, and all of them have to stay near.
"""
import os
import sys

import torch

import golden
import network
from lbfgs import Lbfgs
from objective import Objective
from precondition import precondition

D = torch.float64
DIVISOR = 16
START = 31    # seed of large.classic.start's u
RUNS = 24     # of --float32
GAIN = 2.25   # of the preconditioner
OBJECTIVES = {
    "normalised": dict(normalised=True, cw=0.5, sw=1.0, tv=0.0, replicate=True),
    "normalised_tv": dict(normalised=True, cw=0.5, sw=1.0, tv=0.3, replicate=True),
    "classic": dict(normalised=False, cw=1.0, sw=500.0),
    "plain_tv": dict(normalised=False, cw=1.0, sw=1e-4, tv=0.05),
    "classic_avg": dict(normalised=False, cw=1.0, sw=500.0, average=True),
}
METADATA = {
    "architecture": "vgg19", "width.divisor": str(DIVISOR), "input.order": "bgr",
    "input.range": "255", "input.mean": "103.939,116.779,123.68", "input.std": "1,1,1",
    "input.size": "224", "input.fit": "crop", "flatten": "chw",
    "made.by": "tools/oracle/style.py", "torch": torch.__version__,
}


def make_weights(random):
    """He weights, small random biases, to conv5_1."""
    weights, i = {}, 3
    for block, name, _ in network.layers():
        o = network.CHANNELS[block] // DIVISOR
        deviation = (2.0 / (9 * i)) ** 0.5
        weights[f"conv{name}.weight"] = torch.randn(o, i, 3, 3, generator=random) * deviation
        weights[f"conv{name}.bias"] = torch.randn(o, generator=random) * 2.0
        i = o
        if name == "5_1":
            return weights


def make_picture(random, height, width, waves):
    """Waves of random direction and colour, and a little grain; every channel of mean 125
    and deviation 45, so that Gram matrices of two pictures are alike in size."""
    rows = torch.arange(height).view(1, -1, 1)
    columns = torch.arange(width).view(1, 1, -1)
    x = torch.zeros(3, height, width)
    for k in range(waves):
        fy, fx, phase = ((torch.rand(3, generator=random) - 0.5) * 2).tolist()
        colour = torch.randn(3, 1, 1, generator=random)
        wave = torch.cos((fy * rows + fx * columns) * 0.25 * (k + 1) + 3.1416 * phase)
        x = x + colour * wave / (k + 1)
    x = x + 0.1 * torch.randn(x.shape, generator=random)
    x = (x - x.mean((1, 2), keepdim=True)) / x.std((1, 2), keepdim=True)
    return (x * 45 + 125).clamp(0, 255)[None]


def make_inputs():
    """The float32 tensors: weights and pictures."""
    random = torch.Generator()
    random.manual_seed(19)
    weights = make_weights(random)
    pictures = {"small.content": make_picture(random, 40, 56, 4),
                "large.content": make_picture(random, 64, 64, 4),
                "style": make_picture(random, 48, 40, 9)}
    content = pictures["small.content"]
    pictures["small.start"] = content + 12 * torch.randn(content.shape, generator=random)
    content = pictures["large.content"]
    mean = torch.tensor(network.MEAN[::-1]).view(1, 3, 1, 1)
    random.manual_seed(START)
    u = (torch.rand(content.shape, generator=random) - 0.5) * 40
    pictures["large.classic.start"] = mean + 0.5 * (content - mean) + 0.5 * u
    return weights, pictures


def adam(objective, x, scale, steps):
    losses = []
    x = x.clone()
    optimiser = torch.optim.Adam([x], lr=1.0, betas=(0.9, 0.999), eps=1e-8)
    for _ in range(steps):
        loss, x.grad = objective(x, scale)
        losses.append(loss / scale)
        optimiser.step()
    return losses + [objective(x)[0]]


def lbfgs(objective, x, scale, steps, gain):
    optimiser = Lbfgs(lambda x: objective(x, scale), 10, lambda x: precondition(x, gain))
    losses, evaluations = [objective(x)[0]], [0]
    for _ in range(steps):
        x = optimiser.step(x)
        losses.append(optimiser.f / scale)
        evaluations.append(optimiser.evaluations)
    assert not optimiser.skipped and not optimiser.cleared
    assert all(b < a for a, b in zip(losses, losses[1:]))
    return losses, evaluations


def evaluate(weights, pictures):
    """All objectives at small.start."""
    out = {}
    start = pictures["small.start"]
    for name, options in OBJECTIVES.items():
        o = Objective(weights, pictures["small.content"], pictures["style"], **options)
        loss, content, style, errors = o.terms(start)
        found = o.features(start)
        targets = {**o.contents, **o.grams}
        values = {
            "attr": o.attr, "loss": [loss], "content": [content], "style": [style],
            "errors": [errors[n] for n in targets],
            "targets": [t.square().sum() for t in targets.values()],
            "features": [[f.sum(), f.square().sum()] for f in found.values()],
        }
        for what, v in values.items():
            out[f"small.{name}.{what}"] = torch.tensor(v, dtype=D)
        out[f"small.{name}.gradient"] = o(start)[1]
        print(f"{name:14} loss {loss:.12g} C {content:.9g} S {style:.9g} "
              f"|g| {out[f'small.{name}.gradient'].norm():.6g}")
    return out


def trajectories(weights, pictures, talk=True):
    out = {}
    content = pictures["large.content"]
    for name in ("normalised", "classic"):
        o = Objective(weights, content, pictures["style"], **OBJECTIVES[name])
        start = content if name == "normalised" else pictures["large.classic.start"]
        scale = float(start.numel()) if name == "normalised" else 1.0
        found = {"adam": adam(o, start, scale, 20)}
        for what, gain in (("lbfgs", 1), ("preconditioned", GAIN)):
            found[what], found[what + "_evaluations"] = lbfgs(o, start, scale, 10, gain)
        for what, v in found.items():
            out[f"large.{name}.{what}"] = torch.tensor(v, dtype=D)
            if talk:
                print(name, what, " ".join(f"{f:.6g}" for f in v))
    return out


def compare_float32(golden_ones, weights, pictures):
    for run in range(RUNS):
        random = torch.Generator()
        random.manual_seed(run)
        moved = {k: t + 2e-5 * torch.randn(t.shape, generator=random) if "large" in k else t
                 for k, t in pictures.items()}
        others = trajectories(weights, moved, talk=False)
        far = {k: ((others[k] - a) / a.clamp(1e-30)).abs().max().item()
               for k, a in golden_ones.items()}
        print(f"run {run}: worst relative", " ".join(f"{k} {f:.2g}" for k, f in far.items()))
        assert max(far.values()) < 1e-4


def main():
    weights, pictures = make_inputs()
    doubles = [{k: t.double() for k, t in d.items()} for d in (weights, pictures)]
    if sys.argv[1:] == ["--float32"]:
        return compare_float32(trajectories(*doubles), weights, pictures)
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.normpath(
        os.path.join(root, "tests", "golden", "style.safetensors"))
    golden.write(path, {**weights, **pictures, **evaluate(*doubles), **trajectories(*doubles)},
                 METADATA)


if __name__ == "__main__":
    main()
