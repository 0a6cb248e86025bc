#!/usr/bin/env python3
"""Renders small templates with transformers' own renderer: what llmc/jinja must equal, to the byte.

    python dev/reference/make_jinja_golden.py          writes test/data/jinja/*.jsonl

dev/reference/jinja/*.txt hold one template a line; U+21B5 stands for a line break. Each becomes a line of JSON:

    template     its text
    text         what it renders from test/data/jinja/variables.json, on 2024-07-26
    generation   where {% generation %} blocks wrote, in bytes, if any did
    error        instead of these: what it raises. raise_exception's words are behind "TemplateError: "

refused.txt holds what jinja2 renders and llmc/jinja refuses on purpose (random texts, addresses in memory, bytes, what no
chat template needs); its lines have neither text nor error. What prints an address elsewhere has no text either.
"""
import datetime
import json
import pathlib
import re

from transformers.utils import chat_template_utils

HERE = pathlib.Path(__file__).parent
DATA = HERE.parent.parent / "test" / "data" / "jinja"
ADDRESS = re.compile(r" at 0x[0-9a-f]+>|<class |<function |<bound method ")

VARIABLES = {
    "value": "v",
    "d": {
        "name": "Ann", "inner": {"deep": "x", "none": None}, "list": ["p", "q"], "number": 3, "float": 1.5,
        "flag": True, "none": None, "big": 12345678901234567890, "negative": -7, "exp": 1e20,
    },
    "l": [1, 2, 3],
    "nested": [[1, "a"], {"k": ["z"]}],
    "clash": {"items": [1], "keys": "k", "values": 2, "pop": "p", "update": "u", "name": "n"},
    "tree": [{"name": "a", "children": [{"name": "b", "children": []}, {"name": "c"}]}, {"name": "d"}],
    "messages": [
        {"role": "system", "content": " Be kind.\n"},
        {"role": "user", "content": "Größe? <b>"},
        {"role": "assistant", "content": "Klein, 小さい."},
    ],
    "tools": [{"type": "function", "function": {"name": "tide", "parameters": {"type": "object", "properties": {}}}}],
}


class FixedClock(datetime.datetime):
    """The clock of strftime_now."""

    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26)


def render(template):
    """The line of a template, without its text."""
    try:
        compiled = chat_template_utils._compile_jinja_template(template)
        blocks, spans = [], []
        with compiled.environment.activate_tracker(blocks, spans):
            for block in compiled.generate(**VARIABLES):
                blocks.append(block)
        text = "".join(blocks)
        text.encode()
    except (Exception, RecursionError) as error:  # whatever Python, jinja2 or its sandbox raise
        return {"error": f"{type(error).__name__}: {error}"[:200]}
    if ADDRESS.search(text):
        return {}
    line = {"text": text}
    if spans:
        in_bytes = [[len(text[:end].encode()) for end in span] for span in spans]
        line["generation"] = in_bytes
    return line


def main():
    chat_template_utils.datetime = FixedClock
    DATA.mkdir(parents=True, exist_ok=True)
    (DATA / "variables.json").write_text(json.dumps(VARIABLES, ensure_ascii=False, indent=1) + "\n")
    for source in sorted((HERE / "jinja").glob("*.txt")):
        lines = []
        for row in source.read_text().split("\n")[:-1]:
            template = row.replace("\u21b5", "\n")
            line = {} if source.stem == "refused" else render(template)
            lines.append(json.dumps({"template": template, **line}, ensure_ascii=False))
        (DATA / f"{source.stem}.jsonl").write_text("\n".join(lines) + "\n")
        print(f"{source.stem}: {len(lines)} templates")


if __name__ == "__main__":
    main()
