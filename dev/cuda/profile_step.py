"""Where the GPU time of a training step goes, kernel by kernel: the program under Nsight Compute.

    python3 dev/cuda/profile_step.py [--rows N] [--csv FILE] build/train_quaff train --model DIR --data FILE ...

Two steps are run and each kernel of the last one is timed by itself, at the clocks the GPU has: caches are flushed
between kernels, so that the sum exceeds the time of a step that nobody watches. Needs ncu, which comes with the CUDA
toolkit. --csv keeps what ncu wrote, or, given alone, makes the table of such a file again.
"""

import argparse
import csv
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

METRIC = "gpu__time_duration.sum"  # nanoseconds
LAST_OF_STEP = "adamw"


def profile(command, csv_file):
    steps = ["--max-steps", "2", "--eval-steps", "0", "--eval-split", "0", "--save-steps", "0", "--quiet"]
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(
            ["ncu", "--clock-control", "none", "--target-processes", "all", "--metrics", METRIC]
            + ["--csv", "--page", "raw", "--print-units", "base"]
            + ["--log-file", str(csv_file), *command, *steps, "--out", out],
            check=True,
        )


def kernels_of_last_step(csv_file):
    """(name, microseconds) of each launch, in order."""
    lines = [line for line in csv_file.read_text().splitlines() if line.startswith('"')]
    rows = list(csv.DictReader(lines))
    if not rows or rows[0][METRIC] not in ("ns", "nsecond"):  # the line below the headings holds the units
        sys.exit(f"{csv_file}: has no {METRIC} in nanoseconds; was it written by this program?")
    launches = [
        (re.sub(r"^void |\(.*", "", row["Kernel Name"]), float(row[METRIC].replace(",", "")) / 1000)
        for row in rows
        if row["ID"].strip()
    ]
    ends = [i for i, (name, _) in enumerate(launches) if LAST_OF_STEP in name]
    if len(ends) < 2:
        sys.exit(f"{csv_file}: has {len(ends)} steps that end with {LAST_OF_STEP}, and 2 are needed")
    return launches[ends[-2] + 1 : ends[-1] + 1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=40, help="kernels to show")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        csv_file = options.csv or Path(scratch) / "kernels.csv"
        if options.command:
            profile(options.command, csv_file)
        launches = kernels_of_last_step(csv_file)

    times = defaultdict(list)
    for name, microseconds in launches:
        times[name].append(microseconds)
    total = sum(microseconds for _, microseconds in launches)
    print(f"{total:10.0f} microseconds in {len(launches)} kernels")
    for name, of_name in sorted(times.items(), key=lambda entry: -sum(entry[1]))[: options.rows]:
        share, mean = sum(of_name) / total, sum(of_name) / len(of_name)
        print(f"{sum(of_name):10.0f} {share:6.1%} {len(of_name):5} x {mean:9.1f}  {name[:100]}")


if __name__ == "__main__":
    main()
