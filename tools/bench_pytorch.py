#!/usr/bin/python3
"""The rival: what impasto-bench measures, in PyTorch, as its users would write it.

    bench_pytorch.py style [--size N] | mlp | lenet | classify | train  [--threads T]
        [--iterations N] [--layout nchw|channels_last]
    bench_pytorch.py check    can it be measured here? its version, else why not

style      an iteration of Adam on a square picture: VGG-19 to relu5_1, five Gram losses, content at relu4_2
mlp, lenet an epoch of SGD on 60000 pictures of 28 x 28, batches of 100, pictures in memory as float32
classify   VGG-19 with all its layers, one picture of 224 x 224, forward, softmax
train      VGG-19 of a quarter of the channels to relu5_1, eight crops of 128 x 128: forward and all weights' gradients

Prints one JSON line: seconds is the median of the iterations after one to warm up (epochs: of all). Debian: python3-torch
and libopenblas0-pthread; on the reference BLAS PyTorch is several times slower, and this refuses to run. Weights and
pictures are random: the time does not depend on them."""
import argparse, json, re, resource, sys, time

import torch
import torch.nn.functional as F

BLOCKS = [(64, 2), (128, 2), (256, 4), (512, 4), (512, 4)]
STYLE, CONTENT = {"1_1", "2_1", "3_1", "4_1", "5_1"}, "4_2"


def blas_in_use():
    """The BLAS that is really mapped into this process, or built into PyTorch."""
    torch.mm(torch.ones(2, 2), torch.ones(2, 2))
    with open("/proc/self/maps") as f:
        found = set(re.findall(r"lib(?:openblas|blas|mkl)\w*", f.read()))
    return sorted(found | ({"mkl"} if torch.backends.mkl.is_available() else set()))


def weight(*shape, layout=torch.contiguous_format):
    fan_in = torch.Size(shape[1:]).numel()
    return (torch.randn(shape) * (2 / fan_in) ** 0.5).contiguous(memory_format=layout)


def vgg19(layout, last, divisor=1):
    """{"1_1": [weight, bias], ...} to the layer named last."""
    weights, channels = {}, 3
    for b, (width, count) in enumerate(BLOCKS, 1):
        for i in range(1, count + 1):
            weights[f"{b}_{i}"] = [weight(width // divisor, channels, 3, 3, layout=layout), torch.zeros(width // divisor)]
            channels = width // divisor
            if f"{b}_{i}" == last:
                return weights


def features(weights, x, wanted):
    """{name: activation} of the wanted layers, and the last activation."""
    out, block = {}, "1"
    for name, (w, b) in weights.items():
        if name[0] != block:
            x, block = F.max_pool2d(x, 2), name[0]
        x = F.relu(F.conv2d(x, w, b, padding=1))
        if name in wanted:
            out[name] = x
    return out, x


def gram(x):
    y = x.reshape(x.shape[1], -1)
    return y @ y.t() / y.shape[1]


# --- each part returns the function that is timed ---


def style(o):
    weights = vgg19(o.layout, "5_1")
    content, painting = (torch.randn(1, 3, o.size, o.size).contiguous(memory_format=o.layout) for _ in range(2))
    with torch.no_grad():
        target = features(weights, content, {CONTENT})[0][CONTENT]
        grams = {k: gram(v) for k, v in features(weights, painting, STYLE)[0].items()}
    image = content.clone().requires_grad_(True)
    adam = torch.optim.Adam([image], lr=0.02)

    def iteration():
        adam.zero_grad(set_to_none=True)
        out, _ = features(weights, image, STYLE | {CONTENT})
        loss = F.mse_loss(out[CONTENT], target)
        for k in STYLE:
            loss = loss + F.mse_loss(gram(out[k]), grams[k])
        del out
        loss.backward()
        adam.step()

    return iteration


def mlp(o):
    layers = [[weight(m, n), torch.zeros(m)] for n, m in ((784, 256), (256, 128), (128, 10))]

    def forward(x):
        x = F.relu(F.linear(x.flatten(1), *layers[0]))
        return F.linear(F.relu(F.linear(x, *layers[1])), *layers[2])

    return epoch(o, layers, forward)


def lenet(o):
    convolutions = [[weight(m, n, 5, 5, layout=o.layout), torch.zeros(m)] for n, m in ((1, 16), (16, 32))]
    layers = [[weight(m, n), torch.zeros(m)] for n, m in ((800, 128), (128, 10))]

    def forward(x):
        for (w, b), padding in zip(convolutions, (2, 0)):
            x = F.max_pool2d(F.relu(F.conv2d(x, w, b, padding=padding)), 2)
        return F.linear(F.relu(F.linear(x.flatten(1), *layers[0])), *layers[1])

    return epoch(o, convolutions + layers, forward)


def epoch(o, layers, forward, count=60000, batch=100):
    parameters = [p.requires_grad_(True) for layer in layers for p in layer]
    pictures = torch.rand(count, 1, 28, 28).contiguous(memory_format=o.layout)
    labels = torch.randint(0, 10, (count,))
    sgd = torch.optim.SGD(parameters, lr=0.01)

    def run():
        for chosen in torch.randperm(count).split(batch):
            sgd.zero_grad(set_to_none=True)
            F.cross_entropy(forward(pictures[chosen]), labels[chosen]).backward()
            sgd.step()

    return run


def classify(o):
    weights = vgg19(o.layout, "5_4")
    layers = [[weight(m, n), torch.zeros(m)] for n, m in ((25088, 4096), (4096, 4096), (4096, 1000))]
    picture = torch.randn(1, 3, 224, 224).contiguous(memory_format=o.layout)

    def forward():
        with torch.no_grad():
            x = F.max_pool2d(features(weights, picture, {})[1], 2).flatten(1)
            for i, (w, b) in enumerate(layers):
                x = F.linear(x if i == 0 else F.relu(x), w, b)
            F.softmax(x, 1)

    return forward


def train(o):
    weights = vgg19(o.layout, "5_1", divisor=4)
    parameters = [p.requires_grad_(True) for layer in weights.values() for p in layer]
    crops = torch.randn(8, 3, 128, 128).contiguous(memory_format=o.layout)
    with torch.no_grad():
        target = torch.randn_like(features(weights, crops, {})[1])

    def step():
        for p in parameters:
            p.grad = None
        F.mse_loss(features(weights, crops, {})[1], target).backward()

    return step


PARTS = {f.__name__: f for f in (style, mlp, lenet, classify, train)}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("part", choices=[*PARTS, "check"])
    p.add_argument("--size", type=int, default=512)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--iterations", type=int, default=3)
    p.add_argument("--layout", choices=["nchw", "channels_last"], default="nchw")
    o = p.parse_args()
    blas = blas_in_use()
    if not any("openblas" in b or "mkl" in b for b in blas):
        sys.exit(f"bench_pytorch.py: PyTorch runs on {', '.join(blas) or 'no BLAS'}: install libopenblas0-pthread")
    if o.part == "check":
        print("PyTorch " + torch.__version__)
        return
    layout, o.layout = o.layout, torch.channels_last if o.layout == "channels_last" else torch.contiguous_format
    torch.manual_seed(0)
    torch.set_num_threads(o.threads)
    run, warm = PARTS[o.part](o), 0 if o.part in ("mlp", "lenet") else 1
    seconds = []
    for _ in range(o.iterations + warm):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    seconds = sorted(seconds[warm:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"rival": "pytorch " + torch.__version__, "part": o.part, "layout": layout, "size": o.size,
                      "threads": o.threads, "seconds": seconds[len(seconds) // 2], "minimum": seconds[0],
                      "peak_bytes": peak}))


main()
