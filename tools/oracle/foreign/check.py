#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""tools/oracle/foreign/check.py IMPASTO MODEL PICTURE FOLDER: every format at full size. MODEL is a
whole VGG-19 by our names, float32 (IMPASTO_DATA's `vgg19/assemble OUT --f32`). Each file is made
in FOLDER (which wants 2 GB), converted, compared number by number with MODEL, and asked what
PICTURE shows; then it is removed."""
import json
import os
import subprocess
import sys

import numpy

import small
import caffe
import h5
import mat
import npz
import onnx_files
import pytorch
import safetensors


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def converted(impasto, path, out):
    import golden
    run(impasto, "model", "convert", path, "-o", out, "--overwrite", "--quiet")
    return {name: t.numpy() for name, t in golden.read(out)[0].items()}


def main(impasto, model, picture, folder):
    out = os.path.join(folder, "out.safetensors")
    good = True
    for module in (safetensors, pytorch, npz, mat, h5, onnx_files, caffe):
        for name, (architecture, write, *sees) in module.WRITERS.items():
            if architecture != "vgg19":
                continue
            path, truth = os.path.join(folder, name), small.full(model, *sees or ["bgr"])
            write(path, truth)
            found = converted(impasto, path, out)
            same = len(found) in (32, 38) and all(
                numpy.array_equal(found[n], truth[n]) for n in found)
            answer = "features alone"
            if len(found) == 38:
                top = json.loads(run(impasto, "classify", picture, "--model", out, "--top", "1",
                                     "--json").splitlines()[-1])["top"][0]
                answer = f"class {top['id']}, {top['probability']:.6f}"
                same = same and top["id"] == 281
            good = good and same
            print(f"{name:28} {os.path.getsize(path) / 1e6:5.0f} MB  "
                  f"{'the same numbers' if same else 'DIFFERS'}  {answer}", flush=True)
            os.remove(path)
    os.remove(out)
    return 0 if good else 1


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
