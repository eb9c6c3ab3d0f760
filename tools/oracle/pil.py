# SPDX-License-Identifier: MIT
"""PIL's antialiased resize, written again in double precision.

One axis is a matrix: out x in. With scale = in / out and filterscale = max(1, scale), output
i is centred at (i + 0.5) scale and reads the pixels xmin = int(centre - support + 0.5) up to,
not including, xmax = int(centre + support + 0.5), both clipped to the picture, support the
filter's own times filterscale, with weights filter((x + 0.5 - centre) / filterscale),
normalised to a sum of 1. Horizontal first, then vertical. (Pillow: src/libImaging/Resample.c.)
"""
import math

import torch

BICUBIC, LANCZOS = 0, 1


def bicubic(x, a=-0.5):
    x = abs(x)
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    if x < 2:
        return (((x - 5) * x + 8) * x - 4) * a
    return 0.0


def sinc(x):
    return 1.0 if x == 0 else math.sin(math.pi * x) / (math.pi * x)


def lanczos(x):
    return sinc(x) * sinc(x / 3) if -3 <= x < 3 else 0.0


FILTERS = {BICUBIC: (bicubic, 2.0), LANCZOS: (lanczos, 3.0)}


def matrix(n_in, n_out, kind):
    """The weights of one axis, n_out x n_in, double."""
    function, support = FILTERS[kind]
    scale = n_in / n_out
    filterscale = max(1.0, scale)
    support *= filterscale
    m = torch.zeros(n_out, n_in, dtype=torch.float64)
    for i in range(n_out):
        centre = (i + 0.5) * scale
        xmin = max(0, int(centre - support + 0.5))
        xmax = min(n_in, int(centre + support + 0.5))
        w = [function((x + 0.5 - centre) / filterscale) for x in range(xmin, xmax)]
        m[i, xmin:xmax] = torch.tensor(w, dtype=torch.float64) / sum(w)
    return m


def resize(x, height, width, kind):
    """x: N, C, H, W, double."""
    x = x @ matrix(x.shape[3], width, kind).T
    return matrix(x.shape[2], height, kind) @ x
