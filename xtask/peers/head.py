"""Whether the lines of the pages that embed with a head give what `recall-train embed` gave, for
`cargo xtask bench features --check-head`.

    head.py PAGES CHECKPOINT ROWS.npy OURS.npy

Runs the blocks of Python of the sections below as they stand, in the folder of the checkpoint. Prints
one line of JSON: by page and block, the greatest difference of a number.
"""

import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import torch

SECTIONS = [
    ("features.md", "Without us", ["NumPy", "PyTorch"]),
    ("models.md", "A head on features", ["PyTorch"]),
]
"""The kind of `rows` that each block takes."""


def blocks(text, heading):
    """The blocks of Python of a section."""
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    return re.findall(r"^```python\n(.*?)^```", section[1], re.M | re.S)


def embedded(block, checkpoint, rows):
    names = {"checkpoint": checkpoint, "rows": rows}
    exec(block, names)
    # A page may give lines or a function.
    found = names["embeddings"] if "embeddings" in names else names["embed"](rows)
    return np.asarray(found)


def main():
    pages, checkpoint, rows, ours = map(Path, sys.argv[1:])
    rows, ours = np.load(rows), np.load(ours)
    os.chdir(checkpoint)
    differences = {}
    for page, heading, kinds in SECTIONS:
        found = blocks((pages / page).read_text(), heading)
        if len(found) != len(kinds):
            sys.exit(f"{page} has {len(found)} blocks below {heading!r}, not {len(kinds)}")
        for block, kind in zip(found, kinds):
            taken = torch.from_numpy(rows.copy()) if kind == "PyTorch" else rows
            theirs = embedded(block, checkpoint, taken)
            if theirs.shape != ours.shape:
                sys.exit(f"{page}, {kind}: {theirs.shape} instead of {ours.shape}")
            differences[f"{kind} in docs/{page}"] = float(np.abs(theirs - ours).max())
    print(json.dumps(differences))


if __name__ == "__main__":
    main()
