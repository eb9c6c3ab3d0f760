#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Golden numbers of the terms of the style beside the plain Gram matrices, by PyTorch in
double: src/style/objective.c, match.c, guides.c and targets.c, written again from what their
heads say.

usage: tools/oracle/terms.py [OUT]        (default tests/golden/terms.safetensors)

The network is that of style.py, a VGG-19 with channels / 16, in tests/golden/style.safetensors.
Images (planar R, G, B, 0..255, float32, 1, 3, H, W), with sides that no pool divides:
  content (33 x 38, rows x columns), start (content and noise), image (content and much
  noise), painting (36 x 34), second (31 x 37)
  left, right (1 x 38): masks of the content with a soft edge, stretched over its rows
  inside (31 x 1): mask of the second painting
For each case o of CASES:
  <o>.attr      [normalised, cw, sw, tv, replicate, average, then the terms' shares: gram, cov,
                wasserstein, nearest, then the weights of painting and second, masked: the
                first in `left`, the second in `right` and from `inside`, image: places are
                matched by it too, style_scale or 0 for paintings as they are,
                then the weights of the style layers, all 0: not given], float64
  <o>.parts     [loss at start, its content, its style: imp_style_progress], float64
  <o>.gradient  of the loss by the image (1, 3, H, W), float32

Of wasserstein B has the eps of src/op/wasserstein.c.
"""
import os
import sys

import torch
import torch.nn.functional as F

import golden
import network
import pil
import style
from objective import (CONTENT_LAYERS, STYLE_LAYERS, bures, match, moments,
                       total_variation)

NEAREST_LAYERS = tuple(f"relu{b}_{i}" for b, n in ((1, 2), (2, 2), (3, 4))
                       for i in range(1, n + 1))
TERMS = ("gram", "cov", "wasserstein", "nearest")
CONTENT_SHARE = 0.75  # of what is looked for, where there is an image; the rest is the image
MARGIN = 2e-5         # by which a match has to be won here, so that it is won in float32 too
CASES = {
    "cov": dict(cov=1.0, layers=(0.5, 1.0, 2.0, 0.0, 1.5)),
    "nearest": dict(nearest=1.0),
    "nearest_image": dict(nearest=1.0, image=True),
    "gram_nearest": dict(gram=1.0, nearest=0.7, tv=0.3),
    "two_styles": dict(gram=1.0, cov=0.6, nearest=0.5, weights=(0.3, 0.7)),
    "regions": dict(gram=1.0, cov=0.6, nearest=0.5, weights=(1.0, 2.0), masked=True),
    "style_scale": dict(gram=1.0, nearest=0.5, style_scale=0.75),
    "plain": dict(gram=1.0, normalised=False, cw=1.0, sw=500.0, weights=(0.3, 0.7)),
    "wasserstein": dict(wasserstein=1.0),
    "wasserstein_two": dict(cov=0.5, wasserstein=1.0, weights=(0.3, 0.7)),
}


class View:
    """A painting: its picture, its share of the style of its region, where it is looked at."""

    def __init__(self, rgb, share, region, mask=None):
        self.rgb, self.share, self.region, self.mask = rgb, share, region, mask


class Scene:
    """The content and the paintings; masks: of each region, H x W of 0..1, or None."""

    def __init__(self, content, views, masks=None, strengths=(1.0,)):
        self.content, self.views, self.masks, self.strengths = content, views, masks, strengths

    def area(self, region):
        """What a region's style counts, by its share of the picture."""
        return self.strengths[region] * (self.masks[region].mean() if self.masks else 1.0)


def halved(mask):
    """Means of 2 x 2; the last row and column of odd sides go to their neighbours."""
    def means(side):  # side/2 x side
        cells = (torch.arange(side) // 2).clamp(max=side // 2 - 1)
        onto = F.one_hot(cells).double()
        return (onto / onto.sum(0)).T
    return means(mask.shape[0]) @ mask @ means(mask.shape[1]).T


def guide(mask, shape):
    """Weights of mean 1 over the places of a map, P numbers; None without a mask."""
    if mask is None:
        return None
    while mask.shape != shape:
        mask = halved(mask)
    return (mask / mask.mean()).flatten()


def middle(mask, shape):
    """The mask at the middle of each place, P numbers."""
    rows = (2 * torch.arange(shape[0]) + 1) * mask.shape[0] // (2 * shape[0])
    columns = (2 * torch.arange(shape[1]) + 1) * mask.shape[1] // (2 * shape[1])
    return mask[rows][:, columns].flatten()


def over(a, b):
    """a / b; 0 where there is nothing to compare with."""
    return a / b if b > 0 else 0.0


def columns(x):
    return x.reshape(x.shape[1], -1)


class Target:
    """A weighted mean, and the sum of the weights: that of a sum of squared distances is, but
    for a constant, the squared distance of this mean."""

    def __init__(self):
        self.weight, self.sum = 0.0, 0.0

    def add(self, weight, value):
        self.weight, self.sum = self.weight + weight, self.sum + weight * value

    def error(self, x):
        return self.weight * (x - self.sum / self.weight).square().sum() if self.weight else 0.0


class Terms:
    def __init__(self, weights, scene, image=None, normalised=True, cw=0.5, sw=1.0, tv=0.0,
                 replicate=True, layers=None, **terms):
        self.weights, self.scene, self.normalised = weights, scene, normalised
        self.cw, self.sw, self.tv, self.replicate = cw, sw, tv, replicate
        self.share = {t: terms.get(t, 0.0) for t in TERMS}
        self.layers = layers or [1.0 if normalised else 1 / len(STYLE_LAYERS)] * 5
        self.lowest_margin = 1.0
        with torch.no_grad():
            found = self.features(scene.content)
            self.contents = {n: found[n] for n in CONTENT_LAYERS}
            self.paintings = [self.features(v.rgb) for v in scene.views]
            self.aim_statistics()
            if self.share["nearest"]:
                self.aim_nearest(image)

    def features(self, rgb):
        return network.features(self.weights, network.from_rgb(rgb), "5_1", self.replicate)

    # --- gram, cov, wasserstein ---

    def statistics(self, found, layer, mask):
        """Mean, Gram matrix and covariance of the places of a region."""
        x = found[layer]
        m, g = moments(columns(x), guide(mask, x.shape[2:]))
        return m, g, g - torch.outer(m, m)

    def aim_statistics(self):
        self.targets, self.roots = {}, []
        for view, found in zip(self.scene.views, self.paintings):
            for layer in STYLE_LAYERS:
                self.add_statistics(view, layer, *self.statistics(found, layer, view.mask))

    def add_statistics(self, view, layer, n, a, u):
        size = n.square().sum() + u.trace()
        gram = over(1.0, a.square().sum()) if self.normalised else 1 / (4 * len(a) ** 2)
        share = self.share
        weights = {
            "gram": (share["gram"] * gram, a),
            "mean": (over(0.5 * share["cov"], n.square().sum())
                     + over(share["wasserstein"], size), n),
            "cov": (over(0.5 * share["cov"], u.square().sum()), u),
        }
        for kind, (weight, value) in weights.items():
            target = self.targets.setdefault((view.region, layer, kind), Target())
            target.add(view.share * weight, value)
        self.roots.append(
            (view.region, layer, view.share * over(share["wasserstein"], size), u))

    def style_statistics(self, found):
        total = 0.0
        for r in range(len(self.scene.strengths)):
            mask = self.scene.masks[r] if self.scene.masks else None
            for layer, w in zip(STYLE_LAYERS, self.layers):
                m, g, v = self.statistics(found, layer, mask)
                parts = sum(self.targets[r, layer, kind].error(x)
                            for kind, x in (("gram", g), ("mean", m), ("cov", v)))
                if self.share["wasserstein"]:
                    parts = parts + sum(
                        weight * bures(v, u, 1e-4 * (u.trace() / len(u)) ** 2)
                        for region, n, weight, u in self.roots if (region, n) == (r, layer))
                total = total + w * self.scene.area(r) * parts
        return total

    # --- nearest ---

    def maps(self, found):
        """The layers of a column on the grid of the third block."""
        return [F.avg_pool2d(found[n], 2 ** (3 - int(n[4]))) for n in NEAREST_LAYERS]

    def aim_nearest(self, image):
        query = self.maps(self.features(self.scene.content))
        if image is not None:
            query = [CONTENT_SHARE * q + (1 - CONTENT_SHARE) * i
                     for q, i in zip(query, self.maps(self.features(image)))]
        paintings = [self.maps(found) for found in self.paintings]
        first = [columns(x) for x in paintings[0]]  # its mean square column gives the scales
        self.scales = [(x.shape[1] / x.square().sum()).sqrt() for x in first]
        scales = torch.cat([s.expand(len(x)) for s, x in zip(self.scales, first)])
        grid, q = query[0].shape[2:], torch.cat([columns(x) for x in query])
        t, self.matches = torch.zeros_like(q), []
        for view, x in zip(self.scene.views, paintings):
            c = torch.cat([columns(m) for m in x])
            here = (self.regions(grid) == view.region).nonzero().flatten()
            places = (middle(view.mask, x[0].shape[2:]) >= 0.5).nonzero().flatten() \
                if view.mask is not None else torch.arange(c.shape[1])
            found, margin = match(q, (c - c.mean(1, keepdim=True))[:, places], scales)
            self.matches.append(found)
            self.lowest_margin = min(self.lowest_margin, margin[here].min().item())
            t[:, here] += view.share * c[:, places[found[here]]]
        self.nearest = t.split([len(x) for x in first])
        self.nearest_size = sum(s * s * t.square().sum()
                                for s, t in zip(self.scales, self.nearest))

    def regions(self, grid):
        """The region of each place: where masks are equally white, the first."""
        if not self.scene.masks:
            return torch.zeros(grid[0] * grid[1], dtype=torch.long)
        return torch.stack([middle(m, grid) for m in self.scene.masks]).argmax(0)

    def style_nearest(self, found):
        maps = self.maps(found)
        strength = torch.tensor(self.scene.strengths, dtype=torch.float64)
        strength = strength[self.regions(maps[0].shape[2:])]
        errors = sum(s * s * (strength * (columns(p) - t).square()).sum()
                     for s, p, t in zip(self.scales, maps, self.nearest))
        return self.share["nearest"] * errors / self.nearest_size

    # --- all of it ---

    def parts(self, rgb):
        """loss, content, style"""
        found = self.features(rgb)
        content = 0.0
        for n, target in self.contents.items():
            size = target.square().sum() if self.normalised else 2 * target.numel()
            content = content + (found[n] - target).square().sum() / size / len(self.contents)
        style_part = self.style_statistics(found)
        if self.share["nearest"]:
            style_part = style_part + self.style_nearest(found)
        tv = self.tv / 255 ** 2 if self.normalised else self.tv
        loss = self.cw * content + self.sw * style_part + tv * total_variation(rgb)
        return loss, content, style_part

    def gradient(self, rgb):
        rgb = rgb.detach().clone().requires_grad_(True)
        return torch.autograd.grad(self.parts(rgb)[0], rgb)[0]


def make_pictures():
    random = torch.Generator()
    random.manual_seed(4)
    pictures = {"content": style.make_picture(random, 33, 38, 4),
                "painting": style.make_picture(random, 36, 34, 9),
                "second": style.make_picture(random, 31, 37, 6)}
    content = pictures["content"]
    pictures["start"] = content + 12 * torch.randn(content.shape, generator=random)
    pictures["image"] = content + 60 * torch.randn(content.shape, generator=random)
    edge = ((torch.arange(38) - 12) / 9).clamp(0, 1)
    inside = (torch.arange(31) >= 11).float()
    for name, plane in (("left", 1 - edge), ("right", edge), ("inside", inside)):
        shape = (1, 1, -1, 1) if name == "inside" else (1, 1, 1, -1)
        pictures[name] = 255 * plane.reshape(shape).repeat(1, 3, 1, 1)
    return pictures


def as_mask(picture, height, width):
    """Masks here are stretched along one axis alone, on which they do not change."""
    grey = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
    return (picture[0] * grey.view(3, 1, 1)).sum(0).expand(height, width) / 255


def scaled(painting, scene_size, scale):
    """A painting at the size that style_scale asks for; 0: as it is."""
    height, width = painting.shape[2:]
    factor = int(scale * max(scene_size) + 0.5) / max(height, width) if scale else 1.0
    if factor >= 1:
        return painting
    size = [int(side * factor + 0.5) for side in (height, width)]
    return pil.resize(painting, *size, pil.LANCZOS).clamp(0, 255)


def make_scene(p, weights=(1.0, 0.0), masked=False, style_scale=0.0):
    content, paintings = p["content"], (p["painting"], p["second"])
    used = [i for i, w in enumerate(weights) if w > 0]
    size = content.shape[2:]
    rgb = [scaled(x, size, style_scale) for x in paintings]
    if not masked:
        return Scene(content, [View(rgb[i], weights[i] / sum(weights), 0) for i in used])
    inside = [None, as_mask(p["inside"], *rgb[1].shape[2:])]
    masks = [as_mask(p[name], *size) for name in ("left", "right")]
    return Scene(content, [View(rgb[i], 1.0, k, inside[i]) for k, i in enumerate(used)],
                 [masks[i] for i in used],
                 [weights[i] * len(used) / sum(weights) for i in used])


def make_terms(network_weights, pictures, options):
    o = dict(options)
    image = pictures["image"] if o.pop("image", False) else None
    scene = make_scene(pictures, **{k: o.pop(k) for k in ("weights", "masked", "style_scale")
                                    if k in o})
    return Terms(network_weights, scene, image, **o)


def attr(t, options):
    return [float(t.normalised), t.cw, t.sw, t.tv, float(t.replicate), 0.0,
            *t.share.values(), *options.get("weights", (1.0, 0.0)),
            float(options.get("masked", False)), float(options.get("image", False)),
            options.get("style_scale", 0.0), *options.get("layers", [0.0] * 5)]


def check(name, t, weights, pictures):
    """What has to be so, or the goldens would not find what they are to find."""
    assert t.lowest_margin > MARGIN, (name, t.lowest_margin)
    options = CASES[name]
    if options.get("image"):
        other = make_terms(weights, pictures, {**options, "image": False})
        changed = (other.matches[0] != t.matches[0]).double().mean()
        assert 0.1 < changed < 1, changed
    if name == "two_styles":  # the mean as a target: the gradient of the mean of the losses
        start, whole = pictures["start"], dict(options, nearest=0.0)
        both = make_terms(weights, pictures, whole).gradient(start)
        single = [make_terms(weights, pictures, dict(whole, weights=w)).gradient(start)
                  for w in ((1.0, 0.0), (0.0, 1.0))]
        mean = 0.3 * single[0] + 0.7 * single[1]
        assert (both - mean).norm() < 1e-12 * mean.norm()


def main():
    weights = {k: t.double() for k, t in style.make_inputs()[0].items()}
    pictures = make_pictures()
    doubles = {k: t.double() for k, t in pictures.items()}
    out = {}
    for name, options in CASES.items():
        t = make_terms(weights, doubles, options)
        check(name, t, weights, doubles)
        parts = t.parts(doubles["start"])
        gradient = t.gradient(doubles["start"])
        out[f"{name}.attr"] = torch.tensor(attr(t, options), dtype=torch.float64)
        out[f"{name}.parts"] = torch.tensor([float(x) for x in parts], dtype=torch.float64)
        out[f"{name}.gradient"] = gradient.float()
        print(f"{name:16}", *(f"{what} {float(x):.9g}" for what, x in
                              zip(("loss", "content", "style"), parts)),
              f"|g| {gradient.norm():.6g}", f"margin {t.lowest_margin:.2g}")
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.normpath(
        os.path.join(root, "tests", "golden", "terms.safetensors"))
    golden.write(path, {**pictures, **out},
                 {"made.by": "tools/oracle/terms.py", "torch": torch.__version__})


if __name__ == "__main__":
    main()
