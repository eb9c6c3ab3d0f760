# SPDX-License-Identifier: MIT
"""Read and write safetensors: the golden files, and the models that the oracle looks at.

The format: 8 bytes, the header's length, little endian; the header, JSON, tensor name ->
dtype, shape, data_offsets (relative to the end of the header); the data, without holes.
"""
import json
import struct

import numpy
import torch

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "U8": "u1"}
TORCH = {torch.float64: "F64", torch.float32: "F32"}


def write(path, tensors, metadata):
    """tensors: name -> torch tensor, float64 or float32; metadata: string -> string.
    All float64 come first and the header is padded with spaces, so that every tensor is
    aligned to its elements."""
    header, blobs, offset = {"__metadata__": metadata}, [], 0
    for name in sorted(tensors, key=lambda n: tensors[n].dtype != torch.float64):
        t = tensors[name].detach().contiguous()
        dtype = TORCH[t.dtype]
        blob = t.numpy().astype(DTYPES[dtype]).tobytes()
        header[name] = {"dtype": dtype, "shape": list(t.shape),
                        "data_offsets": [offset, offset + len(blob)]}
        offset += len(blob)
        blobs.append(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    print(f"{path}: {len(tensors)} tensors, {8 + len(text) + offset} bytes")


def header(path):
    """The header of a file and where its data begins."""
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        return json.loads(f.read(size)), 8 + size


def read(path):
    """name -> torch tensor of the file's own dtype, and the metadata."""
    head, start = header(path)
    metadata = head.pop("__metadata__", {})
    data = numpy.memmap(path, mode="r", offset=start)
    tensors = {}
    for name, t in head.items():
        begin, end = t["data_offsets"]
        a = data[begin:end].view(DTYPES[t["dtype"]]).reshape(t["shape"])
        tensors[name] = torch.from_numpy(numpy.array(a))
    return tensors, metadata
