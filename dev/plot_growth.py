"""Plots what scripts/growth_cpu.sh measured: seconds of a step beside what its operations predict.

    python3 dev/plot_growth.py GROWTH.csv OUT.svg TITLE

The prediction is the time of the step's operations at the measured peaks (quaff/run/speed_of_light.h), times one factor for
all points: what the base point takes longer than that. Where a measured curve leaves its prediction upwards, something
grows faster than it should. Needs matplotlib.
"""

import csv
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402  (after the choice of what it draws with)


def main():
    source, target, title = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    base = next(row for row in rows if row["what"] == "base")
    factor = float(base["step_seconds"]) / float(base["floor_seconds"])
    names = list(dict.fromkeys(row["what"] for row in rows if row["what"] != "base"))
    figure, axes = plt.subplots(2, 4, figsize=(14, 6.5))
    for name, axis in zip(names, axes.flat):
        points = [row for row in rows if row["what"] == name]
        values = [float(row["value"]) for row in points]
        axis.plot(values, [float(row["step_seconds"]) for row in points], "o-", label="measured")
        axis.plot(values, [factor * float(row["floor_seconds"]) for row in points], "--", label="predicted")
        axis.set_xscale("log", base=2 if name != "outlier share" else 10)
        axis.set_ylim(bottom=0)
        axis.set_xlabel(name)
        axis.set_ylabel("seconds a step")
    for axis in axes.flat[len(names) :]:
        axis.axis("off")
    axes.flat[0].legend()
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})


main()
