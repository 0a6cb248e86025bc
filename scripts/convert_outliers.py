#!/usr/bin/env python3
"""Converts outlier channels between the published code's torch files and the JSON that train_quaff reads.

    scripts/convert_outliers.py mean_times100.0_chip2_Phi-3-mini-4k-instruct.pt channels.json
    scripts/convert_outliers.py channels.json channels.pt [--split]

The content of the first file says which way. A torch file is a zip archive with one pickle, a dictionary from the name
of a linear layer to the list of its channels. A pickle is a program, and this one runs none: it accepts the operations
that make dictionaries, lists, texts and whole numbers, and refuses every other by name. It needs Python's standard
library alone, no torch.

The name that a torch file was saved under has strategy, threshold, data set and model; the options replace them.
"""

import argparse
import io
import json
import pathlib
import pickle
import pickletools
import re
import sys
import zipfile
import zlib

# A block's joint matrices, in the model's order, and the linears that they are made of where a model has these apart.
PARTS = {
    "self_attn.qkv_proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attn.o_proj": ("self_attn.o_proj",),
    "mlp.gate_up_proj": ("mlp.gate_proj", "mlp.up_proj"),
    "mlp.down_proj": ("mlp.down_proj",),
}
JOINTS = list(PARTS)
JOINT_OF = {name: joint for joint, parts in PARTS.items() for name in (joint, *parts)}
MODULE = re.compile(r"model\.layers\.(\d{1,5})\.(" + "|".join(map(re.escape, JOINT_OF)) + ")")
# What torch.save was told to call the file: mean_times100.0_chip2_Phi-3-mini-4k-instruct.
FILE_NAME = re.compile(r"(?P<strategy>[a-z_]+?)(?P<threshold>\d+(\.\d+)?)_(?P<dataset>[^_]+)_(?P<model>.+)")
ABOUT = ("model", "strategy", "threshold", "max_ratio", "dataset", "samples")  # what an outlier file says of itself
MOST_BYTES = 1 << 24  # of the pickle: 1,000 lists of 1,000 channels need a fifth
MOST_CHANNEL = (1 << 31) - 1


class Problem(Exception):
    """A sentence for the user."""


# ---- torch files -----------------------------------------------------------------------------------------------------

MARK = object()
NUMBERS = {"BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1"}
TEXTS = {"BINUNICODE", "SHORT_BINUNICODE"}
STORES = {"PUT", "BINPUT", "LONG_BINPUT"}
FETCHES = {"GET", "BINGET", "LONG_BINGET"}


class PickledLists:
    """`value` is the object of a pickle that consists of dictionaries, lists, texts and whole numbers.

    pickle.Unpickler has operations that import and call what the pickle names; this has none.
    """

    def __init__(self, data):
        self.stack, self.memo, self.recent = [], {}, []
        try:
            for operation, argument, _ in pickletools.genops(data):
                if operation.name == "STOP":
                    break
                self.run(operation.name, argument)
            (self.value,) = self.stack
        except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
            reason = str(error) or type(error).__name__
            raise Problem(f"its pickle is damaged or cut ({reason}); copy the file again") from None

    def run(self, name, argument):
        if name in NUMBERS or name in TEXTS:
            self.stack.append(argument)
            self.recent = [*self.recent[-1:], argument]  # the two texts that STACK_GLOBAL takes
        elif name == "EMPTY_DICT":
            self.stack.append({})
        elif name == "EMPTY_LIST":
            self.stack.append([])
        elif name == "MARK":
            self.stack.append(MARK)
        elif name in STORES:
            self.memo[int(argument)] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in FETCHES:
            self.stack.append(self.memo[int(argument)])
        elif name == "APPEND":
            item = self.stack.pop()
            self.stack[-1].append(item)
        elif name == "APPENDS":
            items = self.above_mark()
            self.stack[-1].extend(items)
        elif name == "SETITEM":
            value, key = self.stack.pop(), self.stack.pop()
            self.stack[-1][key] = value
        elif name == "SETITEMS":
            items = self.above_mark()
            self.stack[-1].update((items[i], items[i + 1]) for i in range(0, len(items), 2))
        elif name not in ("PROTO", "FRAME"):
            self.refuse(name, argument)

    def above_mark(self):
        """What was pushed since the last MARK, which leaves the stack with it."""
        items = []
        while (item := self.stack.pop()) is not MARK:
            items.append(item)
        return items[::-1]

    def refuse(self, name, argument):
        if name in ("GLOBAL", "INST", "STACK_GLOBAL"):
            names = argument.split(" ") if argument else map(str, self.recent)
            what = f"asks for {'.'.join(names)[:80]}"
        else:
            what = f"holds a {name}"
        raise Problem(f"its pickle {what}, which lists of channels do not need. Nothing of it was run. If the file is "
                      "your own, save {name: list(map(int, channels))} with torch.save")


def read_torch(path):
    """The pickled object of a file by torch.save, and the name that the file was saved under."""
    try:
        with zipfile.ZipFile(path) as archive:
            pickles = [item for item in archive.infolist() if re.fullmatch(r"[^/]+/data\.pkl", item.filename)]
            if len(pickles) != 1:
                raise Problem("is a zip archive, but not one by torch.save: it has no NAME/data.pkl")
            if pickles[0].file_size > MOST_BYTES:
                raise Problem(f"its pickle has {pickles[0].file_size:,} bytes, too many for outlier channels")
            data = archive.read(pickles[0])
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise Problem(f"is damaged or cut ({error}); copy it again") from None
    return PickledLists(data).value, pickles[0].filename.partition("/")[0]


def torch_bytes(lists, name):
    """The file that torch.save(lists, name) would write."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for member, data in (("data.pkl", pickle.dumps(lists, protocol=2)), ("version", b"3\n")):
            archive.writestr(zipfile.ZipInfo(f"{name}/{member}"), data)  # a fixed date: the same bytes every time
    return out.getvalue()


# ---- channels --------------------------------------------------------------------------------------------------------


def checked_channels(name, channels):
    if not isinstance(channels, list):
        raise Problem(f"{name} must have a list of channels, not {type(channels).__name__}")
    for channel in channels:
        if type(channel) is not int or not 0 <= channel <= MOST_CHANNEL:
            found = channel if type(channel) in (int, float) else type(channel).__name__  # a list may hold itself
            raise Problem(f"{name} must hold channels, whole numbers from 0 on, found {str(found)[:40]}")
    if len(set(channels)) != len(channels):
        raise Problem(f"{name} names a channel twice")
    return sorted(channels)


def joint_lists(lists, notes):
    """The channels of the joint matrices, in the model's order. Lists are sorted: their order means nothing."""
    if not isinstance(lists, dict) or not lists:
        raise Problem("holds no dictionary from layers to channels")
    found = {}
    for name, channels in lists.items():
        match = MODULE.fullmatch(name) if isinstance(name, str) else None
        if name == "lm_head":
            if checked_channels(name, channels):
                notes.append("lm_head is not quantised here; its channels are left out")
        elif not match:
            raise Problem(f"{str(name)[:80]!r} is no layer of a LLaMA, Mistral or Phi-3 model")
        else:
            place = int(match[1]), JOINTS.index(JOINT_OF[match[2]])
            channels = checked_channels(name, channels)
            if found.setdefault(place, channels) != channels:
                raise Problem(f"{name} has other channels than another layer of the same input; q, k, v share theirs, "
                              "and so do gate and up")
    if not found:
        raise Problem("has no channels of any layer")
    n_layers = 1 + max(layer for layer, _ in found)
    places = [(layer, k) for layer in range(n_layers) for k in range(len(JOINTS))]
    missing = [place for place in places if place not in found]
    if missing:
        layer, k = missing[0]
        notes.append(f"{len(missing)} of {len(places)} lists are missing, the first model.layers.{layer}.{JOINTS[k]}; "
                     "they become empty")
    return {f"model.layers.{layer}.{JOINTS[k]}": found.get((layer, k), []) for layer, k in places}


def split_lists(lists):
    """The same under the names of separate linears: q_proj, k_proj, v_proj and gate_proj, up_proj."""
    result = {}
    for name, channels in lists.items():
        layer, joint = re.fullmatch(r"(model\.layers\.\d+\.)(.+)", name).groups()
        result.update((layer + part, channels) for part in PARTS[joint])
    return result


# ---- both ways -------------------------------------------------------------------------------------------------------


def json_text(about, lists):
    """Laid out as train_quaff does: a line for each list."""
    lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(channels)}" for name, channels in lists.items())
    entries = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in about.items()]
    entries.append(f'  "channels": {{\n{lines}\n  }}')
    return "{\n" + ",\n".join(entries) + "\n}\n"


def to_json(path, options, notes):
    lists, saved_as = read_torch(path)
    lists = joint_lists(lists, notes)
    named = FILE_NAME.fullmatch(saved_as) or FILE_NAME.fullmatch(path.stem)
    known = named.groupdict() if named else {}
    known.update((key, value) for key, value in vars(options).items() if value is not None)
    about = {key: known[key] for key in ABOUT if key in known}
    if "threshold" in about:
        about["threshold"] = float(about["threshold"])
    if "strategy" not in about:
        notes.append(f"the name {saved_as} does not say how the channels were found; --strategy, --threshold, --dataset"
                     " and --model do")
    return lists, json_text(about, lists).encode()


def to_torch(path, options, notes):
    try:
        outliers = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise Problem(f"is neither a file by torch.save (since torch 1.6) nor JSON ({error})") from None
    if not isinstance(outliers, dict) or "channels" not in outliers:
        raise Problem('has no "channels", so this is no outlier file; `train_quaff calibrate` writes one')
    lists = joint_lists(outliers["channels"], notes)
    if outliers.get("max_abs"):
        notes.append("a torch file has no place for max_abs, with which the scales begin; it is left out")
    saved = split_lists(lists) if options.split else lists
    parts = {key: outliers.get(key, "") for key in ("strategy", "threshold", "dataset", "model")}
    name = "{strategy}{threshold}_{dataset}_{model}".format(**parts).replace("/", "-")
    if not FILE_NAME.fullmatch(name):
        name = options.target.stem
    return lists, torch_bytes({**saved, "lm_head": []}, name)


def write(path, data):
    """Writes a file that must not be there yet, as a whole or not at all."""
    try:
        with open(path, "xb") as file:
            file.write(data)
    except FileExistsError:
        raise Problem(f"{path}: is there already; remove it or name another file") from None
    except OSError:
        path.unlink(missing_ok=True)
        raise


def convert(options):
    source, notes = options.source, []
    try:
        is_archive = source.read_bytes()[:2] == b"PK"
        lists, data = (to_json if is_archive else to_torch)(source, options, notes)
    except Problem as problem:
        raise Problem(f"{source}: {problem}") from None
    write(options.target, data)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    counts = {joint: sum(len(c) for name, c in lists.items() if name.endswith(joint)) for joint in JOINTS}
    print(f"{options.target} holds {sum(counts.values()):,} outlier channels of {len(lists)} layers: "
          + ", ".join(f"{joint.partition('.')[2]} {count:,}" for joint, count in counts.items()))


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path, help="a torch file or JSON")
    parser.add_argument("target", type=pathlib.Path, help="the file to write: JSON or a torch file")
    parser.add_argument("--split", action="store_true",
                        help="to torch: q, k, v and gate, up apart as in LLaMA and Mistral, not joint as in Phi-3")
    parser.add_argument("--strategy", help="to JSON: how the channels were found, if the file's name does not say it")
    parser.add_argument("--threshold", type=float, help="to JSON: with which threshold")
    parser.add_argument("--dataset", help="to JSON: on which data set")
    parser.add_argument("--model", help="to JSON: of which model")
    parser.add_argument("--max-ratio", type=float, help="to JSON: largest share of channels; the published code: 0.01")
    parser.add_argument("--samples", type=int, help="to JSON: on how many examples; the published code: 512")
    try:
        convert(parser.parse_args(arguments))
    except (Problem, OSError) as problem:
        print(f"convert_outliers.py: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
