#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""tools/bench_convert.py IMPASTO FILE...: for each weight file, the time of `model convert` beside
that of `cp` and `sha256sum` of the same file together (taken in turn, medians), and the most
memory that the command and its reader held together (their shares of pages, PSS, sampled).

tools/bench_convert.py IMPASTO FOLDER: the same of the hostile files in it (tests/fuzz/corpus): how
many are refused, the longest time, the most memory."""
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
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most = 0
    while run.poll() is None:
        most = max(most, sum(map(pss, [run.pid] + children(run.pid))))
        time.sleep(0.002)
    return most, run.returncode


def seconds(command):
    start = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def hostile(impasto, folder):
    """Statuses other than 0 (not all seeds are damaged) and 4 end it."""
    longest, most, statuses = (0, ""), (0, ""), {0: 0, 4: 0}
    with tempfile.TemporaryDirectory() as out:
        command = ["model", "convert", "-o", os.path.join(out, "out.safetensors"), "--overwrite"]
        for path in sorted(os.path.join(p, f) for p, _, files in os.walk(folder) for f in files):
            start = time.monotonic()
            memory, status = most_memory([impasto, *command, path])
            longest = max(longest, (time.monotonic() - start, path))
            most = max(most, (memory, path))
            if status not in statuses:
                sys.exit(f"{path}: status {status}")
            statuses[status] += 1
    print(f"{statuses[4]} refused, {statuses[0]} converted; longest {longest[0]:.2f} s ({longest[1]}), "
          f"most memory {most[0] / 1e6:.0f} MB ({most[1]})")


def main(impasto, files):
    if os.path.isdir(files[0]):
        hostile(impasto, files[0])
        return
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(files[0]))) as folder:
        out = os.path.join(folder, "out.safetensors")
        for file in files:
            convert = [impasto, "model", "convert", file, "-o", out, "--overwrite", "--quiet"]
            copy = [["cp", file, os.path.join(folder, "copy")], ["sha256sum", file]]
            memory, status = most_memory(convert)
            if status:
                sys.exit(f"{file}: status {status}")
            ours, theirs = [], []
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
