# SPDX-License-Identifier: MIT
"""protobuf's wire format, as far as it takes to write a message by hand."""


def varint(n):
    out = b""
    while n >= 0x80:
        out, n = out + bytes([n & 0x7f | 0x80]), n >> 7
    return out + bytes([n])


def number(field, n):
    return varint(field << 3) + varint(n % 2**64)


def text(field, *parts):
    data = b"".join(p.encode() if isinstance(p, str) else p for p in parts)
    return varint(field << 3 | 2) + varint(len(data)) + data
