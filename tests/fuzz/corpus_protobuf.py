# SPDX-License-Identifier: MIT
"""Seeds of the fuzzers of ONNX and Caffe; make_corpus.py writes them."""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/oracle/foreign"))
from wire import number, text, varint


def floats(n):
    return struct.pack(f"<{n}f", *range(n))


def tensor(name, dims, numbers, kind=1):
    return text(8, name) + b"".join(number(1, n) for n in dims) + number(2, kind) + numbers


def onnx_node(op, inputs, output, *attributes):
    return text(1, b"".join(text(1, name) for name in inputs), text(2, output), text(4, op),
                b"".join(text(5, a) for a in attributes))


def ints(name, *values):
    return text(1, name) + b"".join(number(8, n) for n in values)


def onnx_model(*graph):
    return number(1, 7) + text(7, *graph) + text(8, number(2, 13))


def onnx_seeds():
    conv = onnx_node("Conv", ["x", "w", "b"], "y", ints("pads", 1, 1, 1, 1),
                     ints("kernel_shape", 3, 3), text(1, "group") + number(3, 1))
    rest = (onnx_node("Relu", ["y"], "r") + onnx_node("MaxPool", ["r"], "p") +
            onnx_node("Flatten", ["p"], "f") + onnx_node("MatMul", ["f", "v"], "m") +
            onnx_node("Add", ["m", "c"], "a"))
    w = tensor("w", [1, 1, 3, 3], text(9, floats(9)))
    b = tensor("b", [1], text(4, floats(1)))
    v = tensor("v", [2, 3], text(4, floats(6)))
    c = tensor("c", [3], b"".join(varint(4 << 3 | 5) + floats(1) for _ in range(3)))
    all = [text(5, t) for t in (w, b, v, c)]
    gemm = onnx_node("Gemm", ["y", "v"], "g", text(1, "transB") + number(3, 1),
                     text(1, "alpha") + varint(2 << 3 | 5) + struct.pack("<f", 1))
    held = (onnx_node("Constant", [], "k", text(1, "value") + text(5, w)) +
            onnx_node("Identity", ["k"], "w") + onnx_node("Identity", ["q"], "q"))
    external = tensor("w", [1, 1, 3, 3], text(13, text(1, "location") + text(2, "../x")) +
                      number(14, 1))
    nested = b""
    for _ in range(200):
        nested = text(6, nested)
    seeds = {
        "good": onnx_model(conv, rest, *all),
        "gemm": onnx_model(conv, gemm, *all),
        "detours": onnx_model(held, conv, text(5, b)),
        "shapes": onnx_model(conv, onnx_node("Shape", ["y"], "s"),
                             onnx_node("Reshape", ["y", "s"], "t"), *all),
        "kinds": onnx_model(conv, text(5, tensor("w", [1, 1, 3, 3], text(9, bytes(18)), 10)),
                            text(5, tensor("b", [1], text(10, bytes(8)), 11))),
        "external": onnx_model(conv, text(5, external), text(5, b)),
        "nested": onnx_model(conv, onnx_node("Relu", ["y"], "r", text(1, "g") + nested), *all),
        "sigmoid": onnx_model(conv, onnx_node("Sigmoid", ["y"], "s"), *all),
        "dims": onnx_model(conv, text(5, tensor("w", [2**62, -1, 3, 3], text(9, floats(9))))),
        "cut": onnx_model(conv, rest, *all)[:-60],
        "long": number(1, 7) + b"\x3a" + b"\xff" * 10,
    }
    return seeds


def blob(shape, numbers):
    return numbers + text(7, text(1, b"".join(varint(n) for n in shape)))


def old_blob(sides, numbers):
    return b"".join(number(1 + i, n) for i, n in enumerate(sides)) + numbers


def caffe_seeds():
    v2 = [text(1, "net"), text(100, text(1, "data"), text(2, "Input"))]
    conv = text(100, text(1, "conv1_1"), text(2, "Convolution"),
                text(7, blob([1, 1, 3, 3], text(5, floats(9)))),
                text(7, blob([1], text(5, floats(1)))))
    fc = text(2, text(4, "fc6"), number(5, 14), text(6, old_blob([1, 1, 2, 3], text(5, floats(6)))),
              text(6, old_blob([1, 1, 1, 2], text(8, bytes(16)))))
    loose = b"".join(varint(5 << 3 | 5) + floats(1) for _ in range(4))
    seeds = {
        "good": b"".join(v2) + conv,
        "old": text(1, "net") + fc + text(3, "data") + number(4, 3),
        "both": b"".join(v2) + conv + fc,
        "loose": text(100, text(1, "x"), text(7, blob([4], loose + text(6, floats(4))))),
        "oldest": text(2, text(1, text(1, "conv1"), text(50, blob([1], text(5, floats(1)))))),
        "odd": text(100, text(1, b"\x1b[31m\0\xff"), text(7, blob([1], text(5, floats(1))))),
        "third": text(100, text(1, "x"), text(7, blob([1], text(5, floats(1)))) * 3),
        "dims": text(100, text(1, "x"), text(7, blob([2**62, 2**63], text(5, floats(1))))),
        "twice": b"".join(v2) + conv + conv,
        "cut": b"".join(v2) + conv + conv[:-20],
        "long": b"".join(v2) + b"\x12" + b"\xff" * 10,
    }
    return seeds


SEEDS = {"caffe": caffe_seeds, "onnx": onnx_seeds}
