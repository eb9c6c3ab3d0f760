#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""tools/bench_convert.py IMPASTO FILE...: for each weight file, the time of `model convert` beside
that of `cp` and `sha256sum` of the same file together (taken in turn, medians), and the most
memory that the command and its reader held together (their shares of pages, PSS, sampled)."""
import os
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 5


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(p) for p in f.read().split()]
    except OSError:
        return []


def pss(pid):
    """Bytes; 0 once it has ended."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            return 1024 * next(int(l.split()[1]) for l in f if l.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def most_memory(command):
    run, most = subprocess.Popen(command, stdout=subprocess.DEVNULL), 0
    while run.poll() is None:
        most = max(most, sum(map(pss, [run.pid] + children(run.pid))))
        time.sleep(0.002)
    if run.returncode:
        sys.exit(f"{command}: status {run.returncode}")
    return most


def seconds(command):
    start = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def main(impasto, files):
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(files[0]))) as folder:
        out = os.path.join(folder, "out.safetensors")
        for file in files:
            convert = [impasto, "model", "convert", file, "-o", out, "--overwrite", "--quiet"]
            copy = [["cp", file, os.path.join(folder, "copy")], ["sha256sum", file]]
            memory, ours, theirs = most_memory(convert), [], []
            for _ in range(ROUNDS):
                ours.append(seconds(convert))
                theirs.append(sum(map(seconds, copy)))
            a, b = statistics.median(ours), statistics.median(theirs)
            print(f"{os.path.basename(file):28} {os.path.getsize(file) / 1e6:6.0f} MB  convert "
                  f"{a:5.2f} s  cp and sha256sum {b:5.2f} s  ratio {a / b:4.2f}  memory "
                  f"{memory / 1e6:5.0f} MB", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
