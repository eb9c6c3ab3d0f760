# SPDX-License-Identifier: MIT
"""Seeds of the fuzzers of PyTorch's and NumPy's files; make_corpus.py writes them."""
import io
import struct
import zipfile


MAGIC = b"\x80\2\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
SYSTEM = MAGIC + b"\x80\2M\xe9\3.\x80\2}X\x0d\0\0\0little_endian\x88s."


def text(x):
    return b"X" + struct.pack("<I", len(x)) + x


def numbers(*x):
    return b"(" + b"".join(b"J" + struct.pack("<i", i) for i in x) + b"t"


def tensor(name, key, size, offset, shape, strides, kind=b"Float"):
    return (text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n((" + text(b"storage") +
            b"ctorch\n" + kind + b"Storage\n" + text(key) + text(b"cpu") +
            b"J" + struct.pack("<i", size) + b"NtQJ" + struct.pack("<i", offset) +
            numbers(*shape) + numbers(*strides) + b"\x89ccollections\nOrderedDict\n)RtR")


def state_dict(*tensors):
    return b"\x80\2ccollections\nOrderedDict\n)R(" + b"".join(tensors) + b"u."


def legacy(pickle, *storages):
    """storages: key, number of elements, bytes."""
    keys = b"\x80\2](" + b"".join(text(key) for key, _, _ in storages) + b"e."
    return SYSTEM + pickle + keys + b"".join(
        struct.pack("<q", n) + data for _, n, data in storages)


def archive(members, method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for name, data in members:
            z.writestr(zipfile.ZipInfo(name), data, method)
    return out.getvalue()


W = tensor(b"w", b"0", 4, 0, [2, 2], [2, 1])
TWO = state_dict(W, tensor(b"b", b"1", 2, 1, [1], [1], b"Half"))


def pickle_seeds():
    four, half = (b"0", 4, bytes(range(16))), (b"1", 2, b"\0<\0@")
    python2 = (b"\x80\2ccollections\nOrderedDict\n(]](U\1wctorch._utils\n_rebuild_tensor\n"
               b"((U\7storagectorch\nFloatStorage\nU\0010U\3cpuK\4NtQK\0(K\4t(K\1ttReatR.")
    protocol4 = (b"\x80\4\x95\x30\0\0\0\0\0\0\0}\x94\x8c\1w\x94\x8c\x0ctorch._utils\x94"
                 b"\x8c\x12_rebuild_tensor_v2\x94\x93\x94((\x8c\7storage\x94\x8c\5torch\x94"
                 b"\x8c\x0cFloatStorage\x94\x93\x94\x8c\0010\x8c\3cpuK\4t\x94QK\0K\4\x85K\1\x85"
                 b"\x89}t\x94Rs.")
    wrapped = b"\x80\2}(" + text(b"epoch") + b"M\1\2" + text(b"state_dict") + b"}" + W + b"s" + b"u."
    seeds = {
        "good": legacy(TWO, four, half),
        "python2": legacy(python2, four),
        "protocol4": legacy(protocol4, four),
        "wrapped": legacy(wrapped, four),
        "parameter": legacy(b"\x80\2}" + text(b"w") + b"ctorch._utils\n_rebuild_parameter\n" +
                            W[len(text(b"w")):] + b"\x88}\x87Rs.", four),
        "turned": legacy(state_dict(tensor(b"w", b"0", 4, 0, [2, 2], [1, 2])), four),
        "counter": legacy(state_dict(tensor(b"n", b"0", 2, 0, [], [], b"Long"), W[:0]),
                          (b"0", 2, bytes(16))),
        "system": legacy(b"\x80\2cos\nsystem\n" + text(b"ls") + b"\x85R."),
        "memo": legacy(b"\x80\2Nr\0\0\0\x80."),
        "itself": legacy(b"\x80\2]q\0h\0a."),
        "outside": legacy(state_dict(tensor(b"w", b"0", 4, 1, [2, 2], [2, 1])), four),
        "negative": legacy(state_dict(tensor(b"w", b"0", 4, 3, [2, 2], [-2, 1])), four),
        "repeated": legacy(state_dict(tensor(b"w", b"0", 4, 0, [65535, 1], [0, 1])), four),
        "short": legacy(state_dict(W), (b"0", 4, bytes(9))),
        "module": legacy(b"\x80\2ctorchvision.models.vgg\nVGG\n)\x81."),
    }
    return seeds


def zip_seeds():
    four, half = bytes(range(16)), b"\0<\0@"
    members = [("a/data.pkl", TWO), ("a/byteorder", b"little"), ("a/data/0", four),
               ("a/data/1", half), ("a/version", b"3\n")]
    seeds = {
        "good": archive(members),
        "packed": archive(members, zipfile.ZIP_DEFLATED),
        "big": archive(members[:1] + [("a/byteorder", b"big")] + members[2:]),
        "script": archive(members + [("a/code/__torch__.py", b"op_version_set = 1\n")]),
        "missing": archive(members[:3]),
        "twice": archive(members[:3] + [("b/data.pkl", TWO)]),
        "turned": archive([("a/data.pkl", state_dict(tensor(b"w", b"0", 4, 0, [2, 2], [1, 2]))),
                           ("a/data/0", four)]),
        "bomb": archive([("a/data.pkl", TWO + bytes(1 << 20))], zipfile.ZIP_DEFLATED),
    }
    encrypted = bytearray(seeds["good"])
    encrypted[6] |= 1
    encrypted[encrypted.index(b"PK\1\2") + 8] |= 1
    seeds["encrypted"] = bytes(encrypted)
    return seeds


def npy(header, data, version=1):
    header += b" " * (-(len(header) + 11 + 2 * (version > 1)) % 64) + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


def npz_seeds():
    def header(descr, shape, order=b"False"):
        return (b"{'descr': '" + descr + b"', 'fortran_order': " + order + b", 'shape': " +
                shape + b", }")

    w = ("w.npy", npy(header(b"<f4", b"(2, 2)"), bytes(range(16))))
    seeds = {
        "good": archive([w, ("b.npy", npy(header(b"<f2", b"(2,)"), bytes(4), 2))]),
        "packed": archive([w, ("n.npy", npy(header(b"<i8", b"()"), bytes(8)))],
                          zipfile.ZIP_DEFLATED),
        "fortran": archive([("w.npy", npy(header(b"<f8", b"(1, 2)", b"True"), bytes(16), 3))]),
        "python2": archive([("w.npy", npy(header(b"<f4", b"(4L,)"), bytes(16)))]),
        "big": archive([("w.npy", npy(header(b">f4", b"(4,)"), bytes(16)))]),
        "object": archive([("w.npy", npy(header(b"|O", b"(1,)"), b"\x80\2cos\nsystem\n."))]),
        "fields": archive([("w.npy", npy(b"{'descr': [('a', '<f4')]}", bytes(4)))]),
        "overflow": archive([("w.npy", npy(header(b"<f4", b"(4294967296, 4294967296)"), b""))]),
        "short": archive([("w.npy", npy(header(b"<f4", b"(4,)"), bytes(9)))]),
    }
    return seeds


SEEDS = {"pickle": pickle_seeds, "zip": zip_seeds, "npz": npz_seeds}
