#!/usr/bin/python3
"""The rival: one iteration of style transfer (VGG-19 to relu5_1, five Gram losses, content at relu4_2, Adam) in PyTorch.
usage: bench_pytorch.py SIZE THREADS ITERATIONS nchw|channels_last
Prints one JSON line. Debian: python3-torch libopenblas0-pthread (on the reference BLAS PyTorch is four times slower, and
this refuses to run). Weights and pictures are random: the time does not depend on them."""
import json, re, sys, time

import torch
import torch.nn.functional as F

BLOCKS = [(64, 2), (128, 2), (256, 4), (512, 4), (512, 1)]
STYLE, CONTENT = {"1_1", "2_1", "3_1", "4_1", "5_1"}, "4_2"


def blas_in_use():
    """The BLAS that is really mapped into this process."""
    torch.mm(torch.ones(2, 2), torch.ones(2, 2))
    with open("/proc/self/maps") as f:
        return sorted(set(re.findall(r"lib(?:openblas|blas|mkl)\w*", f.read())))


def make_weights(memory_format):
    weights, channels = {}, 3
    for b, (width, count) in enumerate(BLOCKS, 1):
        for i in range(1, count + 1):
            w = torch.randn(width, channels, 3, 3) * (2 / (9 * channels)) ** 0.5
            weights[f"{b}_{i}"] = (w.contiguous(memory_format=memory_format), torch.zeros(width))
            channels = width
    return weights


def features(weights, x):
    out, block = {}, "1"
    for name, (w, b) in weights.items():
        if name[0] != block:
            x, block = F.max_pool2d(x, 2), name[0]
        x = F.relu(F.conv2d(x, w, b, padding=1))
        if name in STYLE or name == CONTENT:
            out[name] = x
    return out


def gram(x):
    y = x.reshape(x.shape[1], -1)
    return y @ y.t() / y.shape[1]


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    size, threads, iterations, layout = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    blas = blas_in_use()
    if not any("openblas" in b or "mkl" in b for b in blas):
        sys.exit(f"bench_pytorch.py: PyTorch runs on {blas}: install libopenblas0-pthread")
    memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    weights = make_weights(memory_format)
    content, style = (torch.randn(1, 3, size, size).contiguous(memory_format=memory_format) for _ in range(2))
    with torch.no_grad():
        target = features(weights, content)[CONTENT]
        grams = {k: gram(v) for k, v in features(weights, style).items() if k in STYLE}
    image = content.clone().requires_grad_(True)
    adam = torch.optim.Adam([image], lr=0.02)
    seconds = []
    for _ in range(iterations + 1):
        start = time.perf_counter()
        adam.zero_grad(set_to_none=True)
        out = features(weights, image)
        loss = F.mse_loss(out[CONTENT], target)
        for k in STYLE:
            loss = loss + F.mse_loss(gram(out[k]), grams[k])
        del out
        loss.backward()
        adam.step()
        seconds.append(time.perf_counter() - start)
    seconds = sorted(seconds[1:])
    print(json.dumps({"rival": "pytorch " + torch.__version__, "layout": layout, "size": size, "threads": threads,
                      "seconds_per_iteration": seconds[len(seconds) // 2], "minimum": seconds[0]}))


main()
