# SPDX-License-Identifier: MIT
"""The style objective (src/style/objective.c) as a function of an RGB image of 0..255."""
import torch

import network

CONTENT_LAYERS = ("relu4_2",)
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


def gram(x):
    """C x C of 1 x C x H x W, divided by H W."""
    f = x.reshape(x.shape[1], -1)
    return f @ f.T / f.shape[1]


def moments(x, weights=None):
    """Mean and Gram matrix of the columns of C x P; weights, of mean 1, of a region."""
    w = torch.ones(x.shape[1], dtype=x.dtype) if weights is None else weights
    y = x * w.sqrt()
    return x @ w / x.shape[1], y @ y.T / x.shape[1]


def root(a):
    """The symmetric root of a symmetric matrix, what is below 0 by rounding taken as 0."""
    values, vectors = torch.linalg.eigh((a + a.T) / 2)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def bures(v, u, eps=0.0):
    """tr V + tr U - 2 tr ((U^1/2 V U^1/2 + eps I)^1/2 - eps^1/2 I)"""
    s = root(u)
    m = s @ v @ s + eps * torch.eye(len(u), dtype=u.dtype)
    roots = torch.linalg.eigvalsh((m + m.T) / 2).clamp(min=0).sqrt()
    return v.trace() + u.trace() - 2 * (roots.sum() - len(u) * eps ** 0.5)


def match(q, c, scales):
    """For each column of q the number of the column of c that is most like it, and by how
    much it wins, as a share of what the best of all wins with: src/style/match.c. scales:
    D^1/2, a number a row. Here c has its mean taken away already."""
    d = (c * scales[:, None]).norm(dim=0)
    b = c * scales[:, None].square() / d.clamp(min=1e-300)
    score = (q - q.mean(1, keepdim=True)).T @ b
    best = score.topk(2, dim=1)
    return score.argmax(1), (best.values[:, 0] - best.values[:, 1]) / best.values.abs().max()


def total_variation(x):
    return ((x[:, :, 1:] - x[:, :, :-1]).square().sum()
            + (x[:, :, :, 1:] - x[:, :, :, :-1]).square().sum()) / x.numel()


class Objective:
    """normalised: L = cw mean sum (X-Y)^2 / sum Y^2 + sw sum_l sum (g-a)^2 / sum a^2
                     + tv Ltv / 255^2
    plain:         L = cw mean Lc + sw sum_l Ll / layers + tv Ltv"""

    def __init__(self, weights, content, style, normalised, cw, sw, tv=0.0,
                 replicate=False, average=False):
        self.weights, self.normalised = weights, normalised
        self.cw, self.sw, self.tv = cw, sw, tv
        self.replicate, self.average = replicate, average
        with torch.no_grad():
            found = self.features(content)
            self.contents = {n: found[n] for n in CONTENT_LAYERS}
            found = self.features(style)
            self.grams = {n: gram(found[n]) for n in STYLE_LAYERS}

    @property
    def attr(self):
        return [float(self.normalised), self.cw, self.sw, self.tv, float(self.replicate),
                float(self.average)]

    def features(self, rgb):
        return network.features(self.weights, network.from_rgb(rgb), "5_1",
                                self.replicate, self.average)

    def terms(self, rgb):
        """The loss as a tensor; C and S of the progress line; the squared errors by layer."""
        found = self.features(rgb)
        content = style = loss = 0.0
        errors = {}
        for n, target in self.contents.items():
            e = errors[n] = (found[n] - target).square().sum()
            content = content + e / (2 * target.numel()) / len(self.contents)
            if self.normalised:
                loss = loss + self.cw * e / target.square().sum() / len(self.contents)
        for n, target in self.grams.items():
            e = errors[n] = (gram(found[n]) - target).square().sum()
            style = style + e / (4 * len(target) ** 2) / len(self.grams)
            if self.normalised:
                loss = loss + self.sw * e / target.square().sum()
        if not self.normalised:
            loss = self.cw * content + self.sw * style
        if self.tv:
            scale = 255.0 ** 2 if self.normalised else 1.0
            loss = loss + self.tv * total_variation(rgb) / scale
        return loss, content, style, errors

    def __call__(self, rgb, scale=1.0):
        """(loss, its gradient by the image), both times scale."""
        rgb = rgb.detach().clone().requires_grad_(True)
        loss = self.terms(rgb)[0]
        gradient = torch.autograd.grad(loss, rgb)[0]
        return loss.item() * scale, gradient * scale
