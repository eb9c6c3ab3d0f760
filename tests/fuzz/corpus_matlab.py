# SPDX-License-Identifier: MIT
"""Seeds of the fuzzers of .mat and .h5; make_corpus.py writes them."""
import io
import struct
import zlib

# --- MAT-files: an element is a type, a size and bytes, filled up to eight ---

INT8, UINT8, INT32, UINT32, SINGLE, DOUBLE, MATRIX, PACKED = 1, 2, 5, 6, 7, 9, 14, 15
CELL, STRUCT, CHAR = 1, 2, 4 # classes; 6: double, 7: single


def element(kind, data, size=None):
    if kind != MATRIX and 0 < len(data) <= 4 and size is None:
        return struct.pack("<HH", kind, len(data)) + data.ljust(4, b"\0")
    return struct.pack("<II", kind, len(data) if size is None else size) + data + bytes(-len(data) % 8)


def matrix(kind, shape, body, name=b"", flags=0, size=None):
    head = element(UINT32, struct.pack("<BBHI", kind, flags, 0, 0))
    head += element(INT32, struct.pack(f"<{len(shape)}i", *shape)) + element(INT8, name)
    return element(MATRIX, head + body, size)


def singles(shape, *values, flags=0):
    return matrix(7, shape, element(SINGLE, struct.pack(f"<{len(values)}f", *values)), flags=flags)


def cell(items, name=b"", count=None):
    return matrix(CELL, (1, len(items) if count is None else count), b"".join(items), name)


def fields(items, name=b"", size=16):
    names = b"".join(key.encode().ljust(size, b"\0") for key in items)
    body = element(INT32, struct.pack("<i", size)) + element(INT8, names) + b"".join(items.values())
    return matrix(STRUCT, (1, 1), body, name)


def text(value):
    return matrix(CHAR, (1, len(value)), element(4, value.encode("utf-16-le")))


def mat(*variables, version=0x100, order=b"IM"):
    head = b"MATLAB 5.0 MAT-file".ljust(116) + bytes(8) + struct.pack("<H", version) + order
    return head + b"".join(variables)


def packed(variable):
    data = zlib.compress(variable, 9)
    return struct.pack("<II", PACKED, len(data)) + data


def conv(name="conv1_1", filters=None, biases=None, **more):
    filters = filters or singles((1, 1, 3, 2), *range(6))
    return fields({"weights": cell([filters, biases or singles((2, 1), 1, 2)]), "name": text(name)} | more)


def layers(*items, count=None):
    return cell(items, b"layers", count)


def average(image, name=b"normalization"):
    return fields({"imageSize": singles((1, 2), 8, 8), "averageImage": image}, name)


def mat_seeds():
    relu = fields({"type": text("relu"), "weights": cell([])})
    bytes_as_double = matrix(6, (1, 3), element(UINT8, bytes((120, 110, 100))))
    picture = singles((1, 2, 3), 100, 101, 110, 111, 120, 122)
    deep = singles((1, 1), 1)
    for _ in range(1000):
        deep = cell([deep])
    good = layers(conv(), relu)
    seeds = {
        "good": mat(matrix(CHAR, (1, 2), element(16, b"no"), b"title"), good, average(picture)),
        "packed": mat(packed(good), packed(average(picture))),
        "separate": mat(layers(fields({"name": text("fc8"), "filters": singles((1, 1, 2), 1, 2),
                                       "biases": singles((1, 1), 3)}), relu)),
        "meta": mat(fields({"other": text("x"), "normalization": average(bytes_as_double, b"")},
                           b"meta"), packed(layers(conv(filters=matrix(
                               6, (1, 3), element(3, struct.pack("<3h", -1, 0, 300)))), relu))),
        "skipped": mat(packed(cell([deep], b"deep")), good),
        "deep": mat(packed(layers(conv(filters=deep)))),
        "overflow": mat(layers(conv(filters=singles((2**31 - 1,) * 4, 1)))),
        "negative": mat(layers(conv(filters=singles((-1, 1), 1)))),
        "dimensions": mat(layers(conv(filters=singles((1,) * 9, 1)))),
        "five": mat(layers(conv(filters=singles((1,) * 5, 1)))),
        "cells": mat(layers(conv(), count=900000)),
        "more-cells": mat(layers(conv(), count=2**31 - 1)),
        "beyond": mat(matrix(CELL, (1, 1), conv(), b"layers", size=100000)),
        "beyond-inside": mat(layers(conv(filters=matrix(7, (1, 9), element(SINGLE, bytes(36), 6000))))),
        "numbers": mat(layers(conv(filters=singles((2, 2), 1, 2, 3)))),
        "complex": mat(layers(conv(filters=singles((1, 2), 1, 2, flags=8)))),
        "text": mat(layers(conv(filters=text("abc")))),
        "biases": mat(layers(conv(biases=singles((2, 2), 1, 2, 3, 4)))),
        "three": mat(layers(fields({"weights": cell([singles((1, 1), 1)] * 3), "name": text("bn1")}))),
        "nameless": mat(layers(fields({"weights": cell([singles((1, 1), 1)])}))),
        "long-name": mat(layers(conv("n" * 200))),
        "twice": mat(layers(conv(), conv())),
        "fields": mat(layers(fields({f"f{i}": cell([]) for i in range(65)}, size=4))),
        "dag": mat(fields({"name": text("x")}, b"layers")),
        "nothing": mat(average(picture)),
        "average": mat(average(singles((1, 2, 2), 1, 2, 3, 4)), good),
        "nan": mat(average(singles((1, 3), 1, float("nan"), 3)), good),
        "bomb": mat(packed(matrix(CELL, (1, 1), bytes(2000000), b"layers", size=2**32 - 8))),
        "more": mat(packed(good + bytes(3000000))),
        "cut": mat(packed(good)[:-9]),
        "cut-inside": mat(struct.pack("<II", PACKED, 40) + zlib.compress(good, 9)[:40]),
        "damaged": mat(packed(good)[:60] + bytes(60) + packed(good)[120:]),
        "newer": mat(bytes(384), version=0x200),
        "big-endian": mat(good, version=1, order=b"MI"),
    }
    return seeds


# --- HDF5, by h5py ---


def h5(fill, **how):
    import io
    import h5py
    file = io.BytesIO()
    with h5py.File(file, "w", **how) as f:
        fill(f)
    return file.getvalue()


def tensor(shape=(2, 3), dtype="<f4"):
    import numpy
    return numpy.arange(numpy.prod(shape, dtype=int)).reshape(shape).astype(dtype)


def h5_good(f):
    f["fc1/fc1/kernel:0"] = tensor()
    f["fc1/fc1/bias:0"] = tensor((3,), "<f8")
    f["half"] = tensor((2,), "<f2")
    f["one"] = tensor((), "<f4")
    f["counter"] = tensor((2,), "<i8")


def h5_chunked(f):
    f.create_dataset("a", data=tensor((5, 7)), chunks=(2, 3), compression="gzip", shuffle=True,
                     fletcher32=True)
    f.create_dataset("b", shape=(3, 2), dtype="<f4", chunks=(2, 2)) # nothing stored: zeros


def h5_compact(f):
    import h5py
    how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    how.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((2, 3))
    h5py.h5d.create(f.id, b"a", h5py.h5t.IEEE_F32LE, space, how).write(
        h5py.h5s.ALL, h5py.h5s.ALL, tensor())


def h5_virtual(f):
    import h5py
    layout = h5py.VirtualLayout((2, 3), "<f4")
    layout[:] = h5py.VirtualSource("secret.h5", "a", (2, 3))
    f.create_virtual_dataset("a", layout)


def h5_loop(f):
    f["a"] = f["/"]


def h5_soft_loop(f):
    import h5py
    f["a"] = h5py.SoftLink("/b")
    f["b"] = h5py.SoftLink("/a")


def h5_lying_chunk(f):
    f.create_dataset("a", data=tensor((5, 7)), chunks=(2, 0x133), maxshape=(None, None))


def changed(data, old, new):
    assert old in data
    return data.replace(old, new)


def h5_seeds():
    import h5py

    def put(name, data, **how):
        return lambda f: f.create_dataset(name, data=data, **how)

    lying = h5(h5_lying_chunk)
    three = struct.pack("<I", 0x133)
    both = struct.pack("<2Q", 5, 7)
    contiguous = h5(put("a", tensor((5, 7))))
    seeds = {
        "good": h5(h5_good),
        "user-block": h5(h5_good, userblock_size=512),
        "latest": h5(h5_good, libver="latest"),
        "model": h5(lambda f: (h5_good(f.create_group("model_weights")), put("m", tensor())(f))),
        "chunked": h5(h5_chunked),
        "compact": h5(h5_compact),
        "empty": h5(put("a", tensor((0, 3)))),
        "external-link": h5(lambda f: f.__setitem__("a", h5py.ExternalLink("secret.h5", "/a"))),
        "soft-link": h5(lambda f: f.__setitem__("a", h5py.SoftLink("/b"))),
        "soft-loop": h5(h5_soft_loop),
        "model-link": h5(lambda f: f.__setitem__("model_weights", h5py.ExternalLink("secret.h5", "/"))),
        "external-storage": h5(lambda f: f.create_dataset(
            "a", shape=(2,), dtype="<f4", external=[("secret.bin", 0, 8)])),
        "virtual": h5(h5_virtual),
        "loop": h5(h5_loop),
        "deep": h5(put("/".join("a" * 10), tensor()), libver="latest"),
        "lzf": h5(put("a", tensor((5, 7)), compression="lzf")),
        "scale-offset": h5(put("a", tensor((5, 7), "<i4").astype("<f4"), scaleoffset=2)),
        "big-endian": h5(put("a", tensor((2,), ">f4"))),
        "complex": h5(put("a", tensor((2,)).astype("<c8"))),
        "text": h5(put("a", "text of any length")),
        "reference": h5(lambda f: f.create_dataset("a", (1,), h5py.ref_dtype)),
        "keras3": h5(put("layers/conv2d/vars/0", tensor())),
        "long-name": h5(put("n" * 200, tensor())),
        "unwritten": h5(lambda f: f.create_dataset("a", shape=(2, 3), dtype="<f4")),
        "chunk-beyond": changed(lying, three, struct.pack("<I", 0x7fffffff)),
        "chunk-zero": changed(lying, three, bytes(4)),
        "gzip-damaged": h5(put("a", tensor((5, 7)), chunks=(5, 7), compression="gzip"))[:-20] + bytes(20),
        "contiguous-huge": changed(contiguous, both, struct.pack("<2Q", 2**62, 7)),
        "contiguous-large": changed(contiguous, both, struct.pack("<2Q", 5000, 7)),
        "compact-less": changed(h5(h5_compact), struct.pack("<2Q", 2, 3), struct.pack("<2Q", 20, 3)),
        "cut": contiguous[:-30],
    }
    return seeds


SEEDS = {"mat": mat_seeds, "h5": h5_seeds}
