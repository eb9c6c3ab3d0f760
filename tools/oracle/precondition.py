# SPDX-License-Identifier: MIT
"""The preconditioner of L-BFGS for pictures, as src/style/precondition.c defines it."""
import torch

OCTAVES = 4


def blurred(x, gap, axis):
    """(1 4 6 4 1)/16 along an axis, `gap` apart, mirrored with the outermost pixel twice."""
    n = x.shape[axis]
    total = torch.zeros_like(x)
    for tap, weight in zip(range(-2, 3), (1, 4, 6, 4, 1)):
        at = (torch.arange(n) + tap * gap) % (2 * n)
        at = torch.where(at < n, at, 2 * n - 1 - at)
        total = total + weight / 16 * x.index_select(axis, at)
    return total


def precondition(x, gain):
    """M x of N, C, H, W."""
    total = smooth = x
    for k in range(1, OCTAVES + 1):
        smooth = blurred(blurred(smooth, 2 ** (k - 1), 2), 2 ** (k - 1), 3)
        total = total + (gain ** k - gain ** (k - 1)) * smooth
    return total
