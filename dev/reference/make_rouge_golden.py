"""Golden values of ROUGE-L, by the package rouge-score (pip install rouge-score).

    python make_rouge_golden.py             run by hand; writes test/data/metrics/rouge_l.jsonl

A line is {"answer", "truth", "rouge_l"}: rougeL's F-measure with the default tokenizer and without a stemmer. Some pairs
are written to try the tokenizer, the others are words drawn at random from a small vocabulary, so that many are common.
"""

import json
import pathlib
import random

from rouge_score import rouge_scorer

TARGET = pathlib.Path(__file__).resolve().parents[2] / "test" / "data" / "metrics" / "rouge_l.jsonl"

WRITTEN = [
    ("the cat sat on the mat", "the cat sat on the mat"),
    ("The CAT sat, on the mat!", "the cat lay on a mat"),
    ("", "the truth"),
    ("an answer", ""),
    ("", ""),
    ("... !?", "the truth"),
    ("nothing in common", "entirely other words"),
    ("one", "one two three four five six seven eight nine"),
    ("b a", "a b"),
    ("a a a a", "a a"),
    ("it's the 3.14 of well-known_names", "its the 314 of well known names"),
    ("two\n\nlines\tand tabs", "two lines and tabs"),
    ("running runner runs", "run running runs"),
    ("caf\u00e9 na\u00efve \u00fcber", "cafe naive uber"),
    ("caf\u00e9 na\u00efve \u00fcber", "caf\u00e9 na\u00efve \u00fcber"),
    ("4 \u212a is cold", "4 k is cold"),          # the Kelvin sign, whose lower case is k
    ("\u0130stanbul is large", "istanbul is large"),  # I with a dot: i and a combining dot
    ("\u0130stanbul is large", "i stanbul is large"),
    ("\u4f60\u597d world", "\u4f60\u597d world"),
    ("emoji \U0001f600 between words", "emoji between words"),
    ("no\u00a0break\u2009spaces", "no break spaces"),
    ("x" * 300, "x" * 300 + " y"),
]

WORDS = "we of the a gave 12 7 red blue quick, Slow. (old) new; night day sun moon it's re-do".split()


def pairs():
    yield from WRITTEN
    generator = random.Random(20)
    for _ in range(40):
        yield tuple(" ".join(generator.choices(WORDS, k=generator.randint(1, 40))) for _ in range(2))


def main():
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    with TARGET.open("w", encoding="utf-8") as file:
        for answer, truth in pairs():
            value = scorer.score(target=truth, prediction=answer)["rougeL"].fmeasure
            file.write(json.dumps({"answer": answer, "truth": truth, "rouge_l": value}) + "\n")


if __name__ == "__main__":
    main()
