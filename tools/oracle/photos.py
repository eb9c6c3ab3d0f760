#!/usr/bin/python3
"""How often does the program name a photograph right? On the 200 photographs of the data folder's photos/ whose position
by name is 3, 8, ... 998 (the position is the class), as `vgg.py photos` does it with PyTorch.
usage: photos.py MODEL [PROGRAM]        MODEL a classifier of ImageNet; PROGRAM build/impasto; the folder from IMPASTO_DATA"""
import json, os, subprocess, sys

ROOT = os.path.dirname(os.path.abspath(__file__)) + "/../.."


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    program = sys.argv[2] if len(sys.argv) == 3 else ROOT + "/build/impasto"
    folder = os.environ.get("IMPASTO_DATA", ROOT + "/../shared/data") + "/photos"
    classes = {os.path.join(folder, name): k for k, name in enumerate(sorted(os.listdir(folder)))}
    chosen = [path for path, k in classes.items() if k % 5 == 3]
    command = [program, "classify", *chosen, "--model", sys.argv[1], "--fit", "crop", "--top", "5", "--json"]
    first = five = 0
    for line in subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines():
        row = json.loads(line)
        if row["event"] == "result":
            ids = [top["id"] for top in row["top"]]
            first += ids[0] == classes[row["file"]]
            five += classes[row["file"]] in ids
    print(f"{len(chosen)} photographs: top-1 {100 * first / len(chosen):.1f} %, top-5 {100 * five / len(chosen):.1f} %")


main()
