# SPDX-License-Identifier: MIT
"""L-BFGS as src/optim/lbfgs.c does it: the specification, in PyTorch.

Nocedal & Wright, Numerical Optimization, algorithms 7.4 (two-loop recursion) and 7.5, with
a backtracking line search (Armijo, quadratic interpolation). All dot products in double;
x, g, s, y of whatever type x has.
"""
import math

import torch

ARMIJO = 1e-4       # of the decrease that the slope promises, a step has to give
EVALUATIONS = 20    # at most, in one line search
CURVATURE = 1e-10   # a pair is stored where s'y > CURVATURE |s| |y|


def dot(a, b):
    return torch.dot(a.double().flatten(), b.double().flatten()).item()


class NotConverging(Exception):
    """The loss is not finite at the start, or no step along -g lowers it; x is unchanged."""


class Lbfgs:
    """fn(x) -> (loss, gradient); M: the preconditioner, x -> M x. The state between steps: the
    pairs, oldest first, and the loss and gradient at the present x."""

    def __init__(self, fn, history=10, M=lambda x: x):
        self.fn, self.history, self.M, self.pairs = fn, history, M, []
        self.f = self.g = None
        self.evaluations = self.skipped = self.cleared = 0

    def evaluate(self, x):
        self.evaluations += 1
        return self.fn(x)

    def steepest(self):
        """-M g, scaled to a mean absolute change of 1."""
        down = self.M(self.g)
        mean = down.double().abs().mean().item()
        return -down * (1.0 / mean) if mean > 0 else None

    def direction(self):
        """-H g by the two-loop recursion; H0 = M (s'y)/(y'My) of the newest pair."""
        if not self.pairs:
            return self.steepest()
        q, alphas = self.g.clone(), []
        for s, y, sy in reversed(self.pairs):
            alpha = dot(s, q) / sy
            alphas.append(alpha)
            q = q - alpha * y
        s, y, sy = self.pairs[-1]
        q = self.M(q) * (sy / dot(y, self.M(y)))
        for (s, y, sy), alpha in zip(self.pairs, reversed(alphas)):
            q = q + (alpha - dot(y, q) / sy) * s
        return -q

    def search(self, x, d):
        """The first t of 1, then smaller, that decreases the loss enough: (t, f, g) there."""
        slope, t = dot(self.g, d), 1.0
        for _ in range(EVALUATIONS):
            f, g = self.evaluate(x + t * d)
            if math.isfinite(f) and f <= self.f + ARMIJO * t * slope:
                return t, f, g
            if math.isfinite(f):
                best = -slope * t * t / (2 * (f - self.f - t * slope))
                t = min(max(best, 0.1 * t), 0.5 * t)
            else:
                t = 0.1 * t
        return None

    def step(self, x):
        """One iteration; returns the new x (self.f: its loss)."""
        if self.g is None:
            self.f, self.g = self.evaluate(x)
            if not math.isfinite(self.f):
                self.g = None
                raise NotConverging
        d = self.direction()
        if d is not None and self.pairs and not dot(self.g, d) < 0:
            self.pairs, self.cleared = [], self.cleared + 1
            d = self.steepest()
        found = self.search(x, d) if d is not None else None
        if found is None and self.pairs:
            self.pairs, self.cleared = [], self.cleared + 1
            d = self.steepest()
            found = self.search(x, d) if d is not None else None
        if found is None:
            raise NotConverging
        t, f, g = found
        s, y = t * d, g - self.g
        sy = dot(s, y)
        if sy > CURVATURE * math.sqrt(dot(s, s) * dot(y, y)):
            self.pairs = (self.pairs + [(s, y, sy)])[-self.history:]
        else:
            self.skipped += 1
        self.f, self.g = f, g
        return x + s


def check():
    """Rosenbrock's valley in 10 dimensions, to its minimum at (1, ..., 1)."""
    def rosenbrock(x):
        x = x.clone().requires_grad_(True)
        f = (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()
        return f.item(), torch.autograd.grad(f, x)[0]

    x, optimiser = torch.zeros(10, dtype=torch.float64), Lbfgs(rosenbrock)
    for i in range(200):
        before = optimiser.f
        try:
            x = optimiser.step(x)
        except NotConverging:
            break
        assert before is None or optimiser.f <= before
    print(f"lbfgs: {i + 1} iterations, {optimiser.evaluations} evaluations, "
          f"loss {optimiser.f:.3g}, |x - 1| {(x - 1).abs().max():.3g}")
    assert (x - 1).abs().max() < 1e-6


if __name__ == "__main__":
    check()
