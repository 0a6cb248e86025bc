#!/usr/bin/env python3
"""Downloads a data set from the Hugging Face hub and writes the .jsonl files that train_quaff reads.

    python3 dev/data/get.py gsm8k                     writes data/gsm8k/train.jsonl and test.jsonl
    python3 dev/data/get.py gsm8k --out DIR           the same into DIR
    python3 dev/data/get.py gsm8k --from FOLDER       converts files that are here already (train*.parquet, test*.jsonl, ...)

The files have the columns of the format of the same name (docs/data.md). The publisher's test split becomes test.jsonl.
Where there is only one split, a tenth of its rows does, chosen by a hash of their places, so that it is the same
everywhere; a set that is for evaluation only is also written whole, as all.jsonl.

Parquet files need pyarrow (pip install pyarrow); everything else is Python's standard library. A token in HF_TOKEN is
sent along: sets whose terms must be accepted first (gpqa) need one.
"""

import argparse
import csv
import dataclasses
import gzip
import hashlib
import http.client
import io
import json
import os
import pathlib
import re
import sys
import urllib.error
import urllib.parse
import urllib.request

HUB = "https://huggingface.co"
HELD_OUT = 10  # one row in so many


class Problem(Exception):
    """A sentence for the user."""


# ---- what becomes of a row -------------------------------------------------------------------------------------------
# A converter takes an iterable of the published rows and yields rows of the format. It leaves out rows that hold nothing
# to learn from.


def columns(*names, blank=()):
    """Keeps these columns. A row is left out if one of them is missing or blank; those in `blank` may be."""

    def convert(rows):
        for row in rows:
            kept = {name: "" if row.get(name) is None else row[name] for name in names + tuple(blank)}
            if all(kept[name] != [] and str(kept[name]).strip() for name in names):
                yield kept

    return convert


def dialogue(column, answer_mark, *also):
    """Keeps the rows whose dialogue has an answer."""

    def convert(rows):
        for row in columns(column, blank=also)(rows):
            if row[column].rpartition(answer_mark)[2].strip() and answer_mark in row[column]:
                yield row

    return convert


PAGE_BEGINS = re.compile(r"^ = [^=](.*[^=])? = \n?$")


def pages(rows):
    """WikiText has a line in each row. A page begins with a heading of the first level: " = Title = "."""
    page = ""
    for row in rows:
        if PAGE_BEGINS.match(row["text"]) and page.strip():
            yield {"text": page}
            page = ""
        page += row["text"]
    if page.strip():
        yield {"text": page}


@dataclasses.dataclass(frozen=True)
class DataSet:
    repository: str
    convert: callable
    splits: dict          # "train" and "test" -> the publisher's split; "all": it is divided here
    config: str = None    # None: the only one
    file: str = None      # of the repository, where the hub has no parquet of it
    is_evaluation: bool = False


INSTRUCTION = columns("instruction", "output", blank=["input"])
PUBLISHED = {"train": "train", "test": "test"}
DIVIDED = {"all": "train"}

SETS = {
    "alpaca": DataSet("tatsu-lab/alpaca", INSTRUCTION, DIVIDED),
    "alpaca-clean": DataSet("yahma/alpaca-cleaned", INSTRUCTION, DIVIDED),
    "finance-alpaca": DataSet("gbharti/finance-alpaca", INSTRUCTION, DIVIDED),
    "chip2": DataSet("laion/OIG", dialogue("text", "<bot>:"), DIVIDED, file="unified_chip2.jsonl"),
    "self-instruct": DataSet("yizhongw/self_instruct", columns("prompt", "completion"), DIVIDED, "self_instruct"),
    "hh-rlhf": DataSet("Anthropic/hh-rlhf", dialogue("chosen", "Assistant:", "rejected"), PUBLISHED),
    "longform": DataSet("akoksal/LongForm", columns("input", "output", blank=["source", "subset"]), PUBLISHED),
    "oasst1": DataSet("timdettmers/openassistant-guanaco", dialogue("text", "### Assistant:"), PUBLISHED),
    "wikitext2": DataSet("Salesforce/wikitext", pages, PUBLISHED, "wikitext-2-raw-v1"),
    "lambada": DataSet("EleutherAI/lambada_openai", columns("text"), {"all": "test"}, "en", is_evaluation=True),
    "gsm8k": DataSet("openai/gsm8k", columns("question", "answer"), PUBLISHED, "main"),
    "mmlu-pro": DataSet("TIGER-Lab/MMLU-Pro", columns("question", "options", "answer", "answer_index"),
                        {"all": "test"}, is_evaluation=True),
    "gpqa": DataSet("Idavidrein/gpqa",
                    columns("Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2",
                            "Incorrect Answer 3"), DIVIDED, "gpqa_main", is_evaluation=True),
    "mathqa": DataSet("allenai/math_qa", columns("Problem", "options", "correct"), PUBLISHED),
}


def is_held_out(place):
    """Whether the row at this place, counted from 0 over the rows that are kept, is one of the test rows."""
    return int(hashlib.sha256(str(place).encode()).hexdigest(), 16) % HELD_OUT == 0


def files_of(data_set, rows_of):
    """{"train": [...], "test": [...]} of converted rows; rows_of(split) yields the published ones."""
    if "all" not in data_set.splits:
        return {name: list(data_set.convert(rows_of(split))) for name, split in data_set.splits.items()}
    rows = list(data_set.convert(rows_of(data_set.splits["all"])))
    files = {"train": [row for i, row in enumerate(rows) if not is_held_out(i)],
             "test": [row for i, row in enumerate(rows) if is_held_out(i)]}
    if data_set.is_evaluation:
        files["all"] = rows
    return files


# ---- where rows come from --------------------------------------------------------------------------------------------


def rows_of_bytes(name, content):
    """The rows of a file: .jsonl, .json, .csv or .parquet, the first three also .gz."""
    if name.endswith(".gz"):
        name, content = name[:-3], gzip.decompress(content)
    if name.endswith(".parquet"):
        try:
            import pyarrow.parquet
        except ImportError:
            raise Problem(f"{name} is a Parquet file, and reading it needs pyarrow: pip install pyarrow") from None
        return pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()
    text = content.decode("utf-8")
    if name.endswith(".csv"):
        csv.field_size_limit(1 << 30)
        return list(csv.DictReader(io.StringIO(text, newline="")))
    if name.endswith(".json") and text.lstrip().startswith("["):
        return json.loads(text)
    if name.endswith((".jsonl", ".json")):
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    raise Problem(f"{name}: the name must end in .parquet, .jsonl, .json or .csv, perhaps with .gz")


def download(url):
    request = urllib.request.Request(url)
    token = os.environ.get("HF_TOKEN")
    if token and url.startswith(HUB):
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


def rows_of_hub(data_set, split):
    if data_set.file:
        url = f"{HUB}/datasets/{data_set.repository}/resolve/main/{data_set.file}"
        return rows_of_bytes(data_set.file, download(url))
    listing = json.loads(download(f"{HUB}/api/datasets/{data_set.repository}/parquet"))
    config = data_set.config or next(iter(listing))
    if split not in listing.get(config, {}):
        raise Problem(f"{data_set.repository} has no split {split} of {config} any more; it has {listing}")
    return [row for url in listing[config][split] for row in rows_of_bytes("split.parquet", download(url))]


def rows_of_folder(folder, split):
    """From the files in `folder` whose name begins with the split's."""
    files = sorted(path for path in pathlib.Path(folder).iterdir() if path.name.startswith(split))
    if not files:
        raise Problem(f"{folder} holds no file whose name begins with {split}; name the files {split}.parquet, "
                      f"{split}.jsonl or the like")
    return [row for path in files for row in rows_of_bytes(path.name, path.read_bytes())]


def advice(name, data_set, error):
    """What to do about a download that failed."""
    here = f"{HUB}/datasets/{data_set.repository}"
    if isinstance(error, urllib.error.HTTPError) and error.code in (401, 403):
        return (f"{here} asks for its terms to be accepted (HTTP {error.code}). Accept them there, make a token at "
                f"{HUB}/settings/tokens, and run this again with HF_TOKEN set to it")
    if isinstance(error, urllib.error.HTTPError):
        return f"{here} answers HTTP {error.code} ({error.reason}); try again later, or look there for what has changed"
    splits = " and ".join(sorted(set(data_set.splits.values())))
    return (f"{HUB} cannot be reached from here ({getattr(error, 'reason', error)}). Run\n"
            f"    python3 dev/data/get.py {name} --out DIR\n"
            f"on a machine that reaches it and copy DIR; or download the files of the split {splits} from\n"
            f"    {here}\n"
            f"into a FOLDER, named after their split, and run\n"
            f"    python3 dev/data/get.py {name} --from FOLDER")


# ---- the program -----------------------------------------------------------------------------------------------------


def write_lines(path, rows):
    """The file appears complete or not at all."""
    temporary = path.with_name(path.name + ".part")
    with temporary.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    os.replace(temporary, path)


def get(name, out, folder=None):
    data_set = SETS[name]
    try:
        files = files_of(data_set, lambda split: rows_of_folder(folder, split) if folder else rows_of_hub(data_set, split))
    except (OSError, http.client.HTTPException) as error:
        if folder:
            raise Problem(f"cannot read {folder}: {error}") from None
        raise Problem(advice(name, data_set, error)) from None
    except (ValueError, KeyError) as error:
        raise Problem(f"{name}: the files are not of the kind expected: {error!r}") from None
    empty = [file for file, rows in files.items() if not rows]
    if empty:
        raise Problem(f"{name}: no row for {empty[0]}.jsonl is left; the files are of another kind than expected")
    out.mkdir(parents=True, exist_ok=True)
    for file, rows in files.items():
        write_lines(out / f"{file}.jsonl", rows)
        print(f"{out / file}.jsonl: {len(rows):,} rows")
    print(f"next: ./train_quaff train --model DIR --data {out}/train.jsonl --eval-data {out}/test.jsonl "
          f"--data-format {name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=SETS, metavar="NAME", help=", ".join(SETS))
    parser.add_argument("--out", type=pathlib.Path, metavar="DIR", help="where the files go [data/NAME]")
    parser.add_argument("--from", dest="folder", metavar="FOLDER", help="convert the files in FOLDER, download nothing")
    arguments = parser.parse_args()
    try:
        get(arguments.name, arguments.out or pathlib.Path("data") / arguments.name, arguments.folder)
    except Problem as problem:
        sys.exit(f"get.py: {problem}")


if __name__ == "__main__":
    main()
