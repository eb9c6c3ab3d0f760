#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Write the seeds of the fuzzers, beside this file: good files and lying ones. Wants python3-h5py
and python3-numpy."""
import gzip
import json
import os
import struct

import corpus_matlab
import corpus_protobuf
import corpus_pytorch

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def safetensors(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def idx(flags, images, labels):
    return bytes([flags]) + struct.pack("<H", len(images)) + images + labels


def safetensors_seeds():
    meta = {"__metadata__": {"architecture": "mlp", "input.size": "28"}}
    weights = struct.pack("<4f", 1, -2, 0.5, 3)
    good = meta | {"w": entry("F32", [2, 2], 0, 16), "b": entry("F16", [3], 16, 22)}
    seeds = {
        "good": safetensors(good, weights + struct.pack("<3e", 1, 2, -0.25)),
        "padded": safetensors(b'{"x":%s}   ' % json.dumps(entry("U8", [], 0, 1)).encode(), b"\1"),
        "none": safetensors({}),
        "wide": safetensors({"d": entry("F64", [1], 0, 8), "e": entry("BF16", [0, 5], 8, 8),
                             "i": entry("I64", [1, 1, 1], 8, 16)}, bytes(16)),
        "nan": safetensors({"w": entry("F32", [2], 0, 8)}, struct.pack("<2f", 1, float("nan"))),
        "overflow": safetensors({"w": entry("F32", [6148914691236517206, 3], 0, 8)}, bytes(8)),
        "overlap": safetensors({"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 3, 7)}, bytes(7)),
        "hole": safetensors({"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 5, 9)}, bytes(9)),
        "beyond": safetensors({"w": entry("F32", [4], 0, 16)}, bytes(8)),
        "long": safetensors({}, length=2**63),
        "twice": safetensors(b'{"a":1,"a":2}'),
    }
    return seeds


def idx_seeds():
    images = struct.pack(">4I", 2051, 2, 3, 2) + bytes(range(12))
    labels = struct.pack(">2I", 2049, 2) + b"\7\2"
    seeds = {
        "good": idx(0, images, labels),
        "packed": idx(3, images, labels),
        "gzip": idx(0, gzip.compress(images, mtime=0), gzip.compress(labels, mtime=0)),
        "members": idx(0, gzip.compress(images[:9], mtime=0) + gzip.compress(images[9:], mtime=0), labels),
        "cut": idx(0, gzip.compress(images, mtime=0)[:-9], labels),
        "label": idx(0, images, labels[:-1] + b"\12"),
        "count": idx(0, images, struct.pack(">2I", 2049, 3) + b"\7\2\1"),
        "huge": idx(0, struct.pack(">4I", 2051, 10000000, 4096, 4096), labels),
        "bomb": idx(0, gzip.compress(images + bytes(90000), mtime=0), labels),
        "lying": idx(0, struct.pack(">4I", 2051, 60000, 28, 28) + bytes(12), labels),
    }
    return seeds


SEEDS = {"idx": idx_seeds, "safetensors": safetensors_seeds}
for part in (corpus_matlab, corpus_protobuf, corpus_pytorch):
    SEEDS |= part.SEEDS
for target, seeds in SEEDS.items():
    os.makedirs(os.path.join(HERE, target), exist_ok=True)
    for name, data in seeds().items():
        with open(os.path.join(HERE, target, name), "wb") as f:
            f.write(data)
