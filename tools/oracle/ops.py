#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Golden numbers of every operation: forward and gradients by PyTorch in double.

usage: tools/oracle/ops.py [OUT]        (default tests/golden/ops.safetensors)

Tensors are named <op>.<case>.<what>, float64, four-dimensional as imp_shape has them (a bias
and a row of features have h = w = 1, a Gram matrix is N, C, C, 1, a loss 1, 1, 1, 1), what
being
  attr        the attributes, one-dimensional; absent where the op has none:
                conv2d [stride, pad, padding (0 zero, 1 replicate)]
                pool2d [kind (0 max, 1 average), kernel, stride]
                flatten [order (0 chw, 1 hwc)]
                squared_error [style (0 content, 1 style)]
                resample [height, width, filter (0 bicubic, 1 Lanczos)]
                optim.sgd [rate, momentum]; optim.adam [rate, b1, b2, eps];
                optim.adamw [rate, b1, b2, eps, decay]; optim.muon [rate, momentum]
  in0 in1 in2 the inputs: x; w or target or labels or the other summand; b (or absent)
  y, dy       the output, and the derivative of the loss by it (a random one; 1.7 for losses)
  din0 ...    the derivatives by the inputs that have one (not by targets and labels)
optim.sgd.* and optim.adam.* have attr, x0, the gradients g1 .. g5 and x1 .. x5 after each
step, all one-dimensional; optim.muon.* the same of weights O, I, KH, KW.

Every input, dy (but 1.7), x0 and g is a float32 number: float32 code starts from the same.
"""
import os
import sys

import PIL.Image
import torch
import torch.nn.functional as F

import golden
import pil

D = torch.float64
MAX, AVG = 0, 1
out = {}
random = torch.Generator()


def rand(*shape, scale=1.0):
    """Normal numbers that float32 holds exactly."""
    return (torch.randn(*shape, generator=random) * scale).to(D)


def attr_tensor(values):
    return torch.tensor(values, dtype=D)


def case(op, name, attr, function, inputs, grads, dy=None):
    """Run function(*inputs), differentiate by inputs[i] for i in grads, store all."""
    key = f"{op}.{name}."
    assert key + "y" not in out, key
    inputs = [t.clone().requires_grad_(i in grads) if t is not None else None
              for i, t in enumerate(inputs)]
    y = function(*inputs)
    if y.dim() == 0:
        y, dy = y.reshape(1, 1, 1, 1), torch.full((1, 1, 1, 1), 1.7, dtype=D)
    if dy is None:
        dy = rand(*y.shape)
    y.backward(dy)
    if attr is not None:
        out[key + "attr"] = attr_tensor(attr)
    for i, t in enumerate(inputs):
        if t is not None:
            assert t.dim() == 4 and torch.equal(t, t.float().to(D)), key
            out[f"{key}in{i}"] = t.detach()
    out[key + "y"], out[key + "dy"] = y.detach(), dy
    for i in grads:
        if inputs[i] is not None:
            out[f"{key}din{i}"] = inputs[i].grad
    for what in ("y", "dy"):
        assert out[key + what].dim() == 4 and torch.isfinite(out[key + what]).all(), key
    return out[key + "y"]


def conv2d():
    def one(name, x, o, kernel, stride, pad, replicate=0, bias=True):
        def function(x, w, b):
            b = None if b is None else b.reshape(-1)
            if replicate:
                x = F.pad(x, (pad,) * 4, mode="replicate")
            return F.conv2d(x, w, b, stride=stride, padding=0 if replicate else pad)
        kh, kw = kernel
        w = rand(o, x[1], kh, kw, scale=(2.0 / (x[1] * kh * kw)) ** 0.5)
        b = rand(1, o, 1, 1) if bias else None
        case("conv2d", name, [stride, pad, replicate], function, [rand(*x), w, b], (0, 1, 2))

    one("3x3", (1, 3, 7, 9), 5, (3, 3), 1, 1)
    one("3x3_c17", (1, 17, 5, 6), 33, (3, 3), 1, 1)
    one("5x5_valid_batch3", (3, 1, 9, 8), 6, (5, 5), 1, 0)
    one("3x3_stride2_batch2", (2, 16, 7, 8), 20, (3, 3), 2, 1)
    one("3x3_stride2_valid_rest", (1, 4, 6, 8), 3, (3, 3), 2, 0)  # last row, column unread
    one("1x1", (2, 5, 3, 5), 18, (1, 1), 1, 0)
    one("1x1_stride2", (1, 3, 5, 6), 4, (1, 1), 2, 0)
    one("7x7_stride2", (1, 3, 11, 13), 4, (7, 7), 2, 3)
    one("3x3_replicate", (1, 3, 6, 7), 8, (3, 3), 1, 1, replicate=1)
    one("5x5_replicate_stride2", (2, 2, 8, 7), 3, (5, 5), 2, 2, replicate=1)
    one("3x3_no_bias", (1, 4, 5, 5), 6, (3, 3), 1, 1, bias=False)
    one("2x3", (1, 3, 6, 5), 4, (2, 3), 1, 0)
    one("1xN", (1, 3, 1, 9), 4, (3, 3), 1, 1)
    one("Nx1", (1, 3, 9, 1), 4, (3, 3), 1, 1)
    one("1xN_replicate", (1, 3, 1, 9), 4, (3, 3), 1, 1, replicate=1)
    one("tiny", (2, 3, 1, 1), 4, (3, 3), 1, 1)
    one("tiny_replicate", (2, 3, 1, 1), 4, (3, 3), 1, 1, replicate=1)


def linear():
    def function(x, w, b):
        b = None if b is None else b.reshape(-1)
        return F.linear(x.flatten(1), w.flatten(1), b)[:, :, None, None]

    def one(name, n, i, o, bias=True):
        b = rand(1, o, 1, 1) if bias else None
        case("linear", name, None, function,
             [rand(n, i, 1, 1), rand(o, i, 1, 1, scale=(2.0 / i) ** 0.5), b], (0, 1, 2))

    for n in (1, 5):
        one(f"7_3_batch{n}", n, 7, 3)
        one(f"33_17_batch{n}", n, 33, 17)
        one(f"16_16_batch{n}", n, 16, 16)
    one("7_3_no_bias", 2, 7, 3, bias=False)


def elementwise():
    x = rand(2, 17, 2, 5)
    x[0, :, 0, :3] = 0.0
    x[1, 3, 1, 1:4] = -0.0
    case("relu", "zeros", None, F.relu, [x], (0,))
    assert (out["relu.zeros.din0"][x == 0] == 0).all()  # the convention: 0 at exactly 0
    case("relu", "c3", None, F.relu, [rand(1, 3, 1, 7)], (0,))
    case("add", "batch2", None, torch.add, [rand(2, 17, 2, 3), rand(2, 17, 2, 3)], (0, 1))
    case("add", "row", None, torch.add, [rand(1, 5, 1, 1), rand(1, 5, 1, 1)], (0, 1))


def first_maximum(x, dy, kernel, stride):
    """The gradient of max pooling with the first maximum in the order of rows."""
    dx = torch.zeros_like(x)
    n, c, oh, ow = dy.shape
    for i in range(oh):
        for j in range(ow):
            window = x[:, :, i * stride:i * stride + kernel, j * stride:j * stride + kernel]
            flat = window.reshape(n, c, -1).tolist()
            for a in range(n):
                for b in range(c):
                    k = flat[a][b].index(max(flat[a][b]))
                    dx[a, b, i * stride + k // kernel, j * stride + k % kernel] += dy[a, b, i, j]
    return dx


def pool2d():
    def one(name, kind, x, kernel, stride):
        def function(x):
            pool = F.max_pool2d if kind == MAX else F.avg_pool2d
            return pool(x, kernel, stride)
        key = f"pool2d.{name}"
        case("pool2d", name, [kind, kernel, stride], function, [x], (0,))
        if kind == MAX:
            expected = first_maximum(x, out[key + ".dy"], kernel, stride)
            assert torch.allclose(out[key + ".din0"], expected, rtol=1e-14, atol=1e-14), name

    for kind, word in ((MAX, "max"), (AVG, "avg")):
        one(f"{word}_2_2_odd", kind, rand(1, 3, 7, 9), 2, 2)
        one(f"{word}_2_2_c17_batch2", kind, rand(2, 17, 3, 4), 2, 2)
        one(f"{word}_3_2_overlap", kind, rand(1, 17, 5, 7), 3, 2)
        one(f"{word}_3_1", kind, rand(2, 3, 5, 6), 3, 1)
        one(f"{word}_2_3_gaps", kind, rand(1, 2, 8, 7), 2, 3)
    for kernel, stride in ((2, 2), (3, 2), (3, 1)):
        ties = torch.randint(-1, 2, (2, 3, 7, 6), generator=random).to(D)
        one(f"max_{kernel}_{stride}_ties", MAX, ties, kernel, stride)
    one("max_2_2_all_equal", MAX, torch.zeros(1, 2, 4, 4, dtype=D), 2, 2)


def flatten():
    def chw(x):
        return x.flatten(1)[:, :, None, None]

    def hwc(x):
        return x.permute(0, 2, 3, 1).flatten(1)[:, :, None, None]

    for name, shape in (("odd", (2, 5, 3, 4)), ("c17", (1, 17, 2, 3)), ("row", (3, 19, 1, 1))):
        case("flatten", f"chw_{name}", [0], chw, [rand(*shape)], (0,))
        case("flatten", f"hwc_{name}", [1], hwc, [rand(*shape)], (0,))


def softmaxes():
    def loss(x, labels):
        return F.cross_entropy(x.flatten(1), labels.flatten().long())  # the mean over N

    def softmax(x):
        return F.softmax(x, dim=1)

    huge = rand(4, 10, 1, 1)
    huge[0, 3], huge[1, 0], huge[2, :] = 1000.0, -1000.0, 1000.0
    huge[3, ::2], huge[3, 1::2] = -1000.0, 1000.0
    wrong = huge.clone()
    wrong[0, :], wrong[0, 7] = -1000.0, 1000.0  # and the label is another one: a loss of 2000
    rows = (("row", rand(1, 10, 1, 1), [7]), ("batch5", rand(5, 17, 1, 1), [0, 16, 3, 15, 9]),
            ("huge", huge, [3, 0, 9, 1]), ("wrong", wrong, [2, 0, 5, 0]))
    for name, x, labels in rows:
        labels = torch.tensor(labels, dtype=D).reshape(-1, 1, 1, 1)
        case("softmax", name, None, softmax, [x], (0,))
        case("cross_entropy", name, None, loss, [x, labels], (0,))


def gram(x):
    n, c, h, w = x.shape
    x = x.reshape(n, c, h * w)
    return (x @ x.transpose(1, 2) / (h * w))[..., None]


def losses():
    for name, shape in (("odd", (1, 3, 5, 7)), ("c17_batch2", (2, 17, 3, 4)),
                        ("c33", (1, 33, 2, 5)), ("1x1", (1, 4, 1, 1))):
        case("gram", name, None, gram, [rand(*shape)], (0,))
    dy = rand(1, 5, 5, 1)
    case("gram", "symmetric_dy", None, gram, [rand(1, 5, 4, 3)], (0,),
         (dy + dy.transpose(1, 2)).float().to(D))

    def content(x, t):
        n, c, h, w = x.shape
        return (x - t).square().sum() / (2 * n * c * h * w)

    def style(g, a):
        n, c = g.shape[:2]
        return (g - a).square().sum() / (4 * n * c * c)

    for name, shape in (("odd", (1, 3, 5, 7)), ("c17_batch2", (2, 17, 3, 4)),
                        ("1x1", (1, 4, 1, 1))):
        case("squared_error", f"content_{name}", [0], content,
             [rand(*shape), rand(*shape)], (0,))
    for name, (n, c) in (("c5", (1, 5)), ("c17_batch2", (2, 17)), ("c1", (1, 1))):
        g, a = (gram(rand(n, c, 4, 5)).float().to(D) for _ in range(2))
        case("squared_error", f"style_{name}", [1], style, [g, a], (0,))

    def total_variation(x):
        down = (x[:, :, 1:] - x[:, :, :-1]).square().sum()
        right = (x[:, :, :, 1:] - x[:, :, :, :-1]).square().sum()
        return (down + right) / x.numel()

    for name, shape in (("odd", (1, 3, 7, 5)), ("c17_batch2", (2, 17, 3, 4)),
                        ("1xN", (1, 3, 1, 9)), ("Nx1", (1, 3, 9, 1)), ("1x1", (1, 3, 1, 1))):
        case("total_variation", name, None, total_variation, [rand(*shape, scale=50)], (0,))


def moments():
    def mean(x):
        return x.mean(dim=(2, 3), keepdim=True)

    for name, shape in (("odd", (1, 3, 5, 7)), ("c17_batch2", (2, 17, 3, 4)),
                        ("c33", (1, 33, 6, 9)), ("1x1", (1, 4, 1, 1))):
        case("mean", name, None, mean, [rand(*shape)], (0,))

    def centre(g, mu):
        mu = mu.flatten(1)
        return g - (mu[:, :, None] * mu[:, None, :])[..., None]

    for name, (n, c) in (("c5", (1, 5)), ("c17_batch2", (2, 17)), ("c33", (1, 33)),
                         ("c1", (1, 1))):
        x = rand(n, c, 4, 5) + 1
        case("centre", name, None, centre, [gram(x).float().to(D), mean(x).float().to(D)],
             (0, 1))
    case("centre", "not_symmetric", None, centre, [rand(2, 18, 18, 1), rand(2, 18, 1, 1)],
         (0, 1))

    for name, shape in (("odd", (1, 3, 5, 7)), ("c17_batch2", (2, 17, 3, 4)),
                        ("1x1", (1, 4, 1, 1))):
        m = rand(shape[0], 1, *shape[2:])
        m[:, :, 0, 0] = 0
        case("guide", name, None, torch.mul, [rand(*shape), m], (0,))


def select():
    def function(x, picks):
        channel, scale = picks[0, :, 0, 0].long(), picks[0, :, 1, 0]
        return x[:, channel] * scale[None, :, None, None]

    def one(name, shape, channels):
        scales = rand(len(channels))
        picks = torch.stack((torch.tensor(channels, dtype=D), scales), 1)[None, :, :, None]
        case("select", name, None, function, [rand(*shape), picks], (0,))

    one("odd", (1, 5, 3, 7), [4, 0, 2])
    one("c33_batch2", (2, 33, 5, 4), [32, 31, 1, 0, 16, 15] + list(range(3, 24)))
    one("twice", (1, 4, 2, 3), [1, 3, 1, 1])
    one("1x1", (3, 17, 1, 1), [16])


def matching_loss():
    def function(x, t):  # the integral of relu(z) - t from z = t to x, twice
        below = -x.clamp(max=0)
        return ((F.relu(x) - t).square() + 2 * t * below).sum() / (2 * x.numel())

    for name, shape in (("odd", (1, 3, 5, 7)), ("c17_batch2", (2, 17, 3, 4)),
                        ("1x1", (1, 4, 1, 1))):
        case("matching_loss", name, None, function, [rand(*shape), F.relu(rand(*shape))], (0,))


def wasserstein():
    def loss(x, s):
        n, c = x.shape[:2]
        x, s = x[..., 0], s[..., 0]
        x = (x + x.transpose(1, 2)) / 2
        eps = 1e-4 * (s.square().sum((1, 2)) / c).square()
        m = s @ x @ s + eps[:, None, None] * torch.eye(c, dtype=D)
        roots = torch.linalg.eigvalsh((m + m.transpose(1, 2)) / 2).sqrt().sum(1)
        traces = x.diagonal(dim1=1, dim2=2).sum(1) + s.square().sum((1, 2))
        return (traces - 2 * (roots - c * eps.sqrt())).mean()

    def root(x):
        values, vectors = torch.linalg.eigh(x[..., 0])
        values = values.clamp(min=0).sqrt()[:, None, :]
        return ((vectors * values) @ vectors.transpose(1, 2))[..., None]

    def symmetric(x):
        return ((x + x.transpose(1, 2)) / 2).float().to(D)

    def covariances(n, c, places):
        return symmetric(gram(rand(n, c, places, 1, scale=30)))

    for name, n, c, places, target in (("c5", 1, 5, 20, 20), ("c17_batch2", 2, 17, 60, 8),
                                       ("c33", 1, 33, 90, 20), ("c1", 1, 1, 4, 4)):
        case("wasserstein", name, None, loss,
             [covariances(n, c, places), symmetric(root(covariances(n, c, target)))], (0,))


def resample():
    filters = (("bicubic", pil.BICUBIC, PIL.Image.Resampling.BICUBIC),
               ("lanczos", pil.LANCZOS, PIL.Image.Resampling.LANCZOS))

    def one(name, shape, height, width):
        for word, kind, pil_kind in filters:
            x = (torch.rand(*shape, generator=random) * 255).to(D)
            y = case("resample", f"{name}_{word}", [height, width, kind],
                     lambda t: pil.resize(t, height, width, kind), [x], (0,))
            for planes, result in zip(x.flatten(0, 1), y.flatten(0, 1)):
                picture = PIL.Image.fromarray(planes.float().numpy(), mode="F")
                other = picture.resize((width, height), pil_kind)
                other = torch.tensor(other.getdata(), dtype=D).reshape(height, width)
                worst = (other - result).abs().max().item()
                assert worst < 1e-4, (name, word, worst)

    one("down", (1, 2, 27, 19), 10, 7)
    one("up", (1, 2, 8, 11), 12, 17)
    one("mixed_batch2", (2, 1, 9, 14), 13, 5)
    one("c17", (1, 17, 4, 3), 3, 5)
    one("1xN", (1, 3, 1, 25), 1, 9)
    one("1xN_to_map", (1, 1, 1, 9), 3, 6)
    one("to_1x1", (1, 2, 5, 8), 1, 1)
    one("from_1x1", (1, 2, 1, 1), 3, 4)
    one("identity", (1, 3, 5, 6), 5, 6)
    one("one_axis", (1, 2, 6, 7), 6, 4)


def optimisers():
    def one(name, attr, make, count):
        key = f"optim.{name}."
        x = rand(count).requires_grad_(True)
        optimiser = make(x)
        out[key + "attr"], out[key + "x0"] = attr_tensor(attr), x.detach().clone()
        for step in range(1, 6):
            x.grad = rand(count, scale=10.0 ** (step - 3))
            out[f"{key}g{step}"] = x.grad.clone()
            optimiser.step()
            out[f"{key}x{step}"] = x.detach().clone()

    one("sgd", [0.1, 0.9], lambda x: torch.optim.SGD([x], 0.1, momentum=0.9), 37)
    one("adam", [0.02, 0.9, 0.999, 1e-8],
        lambda x: torch.optim.Adam([x], 0.02, betas=(0.9, 0.999), eps=1e-8), 37)
    one("adamw", [0.02, 0.9, 0.999, 1e-8, 0.3],
        lambda x: torch.optim.AdamW([x], 0.02, betas=(0.9, 0.999), eps=1e-8,
                                    weight_decay=0.3), 37)


def muon():
    """Jordan et al. 2024, on W as O rows, in double; src/optim/muon.c has the equations."""
    def step_of(m):
        x = m / m.norm()
        for _ in range(5):
            square = x @ x.T
            x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
        return x

    def one(name, shape, rate, momentum):
        key = f"optim.muon.{name}."
        x, m = rand(*shape, scale=0.1), 0
        out[key + "attr"], out[key + "x0"] = attr_tensor([rate, momentum]), x
        for step in range(1, 6):
            g = rand(*shape, scale=10.0 ** (step - 3))
            m = momentum * m + g
            update = step_of((g + momentum * m).flatten(1))
            x = x - rate * 0.2 * max(update.shape) ** 0.5 * update.reshape(shape)
            out[f"{key}g{step}"], out[f"{key}x{step}"] = g, x

    one("wide", (5, 17, 3, 3), 0.02, 0.95)
    one("colours", (16, 3, 3, 3), 0.02, 0.9)
    one("tall", (40, 17, 1, 1), 0.02, 0.95)


def main():
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.normpath(
        os.path.join(root, "tests", "golden", "ops.safetensors"))
    for seed, group in enumerate((conv2d, linear, elementwise, pool2d, flatten, softmaxes,
                                  losses, resample, optimisers, moments,
                                  wasserstein, select, matching_loss, muon)):
        random.manual_seed(seed + 1)
        group()
    golden.write(path, out, {"made.by": "tools/oracle/ops.py", "torch": torch.__version__})


if __name__ == "__main__":
    main()
