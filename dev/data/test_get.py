#!/usr/bin/env python3
"""Tests of get.py on made-up rows of each set's columns. Needs Python's standard library only: python3 test_get.py"""

import contextlib
import gzip
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
import urllib.error

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import get  # noqa: E402

# A made-up row of each set as published, and what becomes of it.
ALPACA = {"instruction": "Name a fruit.", "input": "", "output": "A plum.", "text": "Below is ..."}
ALPACA_KEPT = {"instruction": "Name a fruit.", "input": "", "output": "A plum."}
OPTIONS = ["one", "two", "three"]
ROWS = {
    "alpaca": (ALPACA, ALPACA_KEPT),
    "alpaca-clean": (ALPACA, ALPACA_KEPT),
    "finance-alpaca": (ALPACA, ALPACA_KEPT),
    "chip2": ({"text": "<human>: Hi\n<bot>: Hello", "metadata": {"source": "x"}}, {"text": "<human>: Hi\n<bot>: Hello"}),
    "self-instruct": ({"prompt": "Do it. Output:", "completion": " Done.<|endoftext|>"},
                      {"prompt": "Do it. Output:", "completion": " Done.<|endoftext|>"}),
    "hh-rlhf": ({"chosen": "\n\nHuman: Hi\n\nAssistant: Hello", "rejected": "\n\nHuman: Hi\n\nAssistant: No"},
                {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello", "rejected": "\n\nHuman: Hi\n\nAssistant: No"}),
    "longform": ({"input": "Write.", "output": "Words.", "source": "C4", "subset": "c4"},
                 {"input": "Write.", "output": "Words.", "source": "C4", "subset": "c4"}),
    "oasst1": ({"text": "### Human: Hi### Assistant: Hello"}, {"text": "### Human: Hi### Assistant: Hello"}),
    "wikitext2": ({"text": " = Plum = \n"}, {"text": " = Plum = \n"}),
    "lambada": ({"text": "she ate the plum"}, {"text": "she ate the plum"}),
    "gsm8k": ({"question": "1 + 1?", "answer": "It is 2.\n#### 2"}, {"question": "1 + 1?", "answer": "It is 2.\n#### 2"}),
    "mmlu-pro": ({"question_id": 7, "question": "Which?", "options": OPTIONS, "answer": "A", "answer_index": 0,
                  "cot_content": "", "category": "fruit", "src": "x"},
                 {"question": "Which?", "options": OPTIONS, "answer": "A", "answer_index": 0}),
    "gpqa": ({"Record ID": "r", "Question": "Which?", "Correct Answer": "a", "Incorrect Answer 1": "b",
              "Incorrect Answer 2": "c", "Incorrect Answer 3": "d", "Explanation": "because"},
             {"Question": "Which?", "Correct Answer": "a", "Incorrect Answer 1": "b", "Incorrect Answer 2": "c",
              "Incorrect Answer 3": "d"}),
    "mathqa": ({"Problem": "1 + 1?", "Rationale": "adding", "options": "a ) 2 , b ) 3", "correct": "a",
                "annotated_formula": "add(1, 1)", "linear_formula": "add|", "category": "general"},
               {"Problem": "1 + 1?", "options": "a ) 2 , b ) 3", "correct": "a"}),
}


class Converters(unittest.TestCase):
    def test_every_set_has_a_row_here(self):
        self.assertEqual(set(ROWS), set(get.SETS))

    def test_the_columns_of_the_format_are_kept_and_no_others(self):
        for name, (published, kept) in ROWS.items():
            with self.subTest(name):
                self.assertEqual(list(get.SETS[name].convert([published])), [kept])

    def test_rows_without_anything_to_learn_are_left_out(self):
        blank = [dict(ALPACA, output=" "), dict(ALPACA, output=None), {"instruction": "x"}, ALPACA]
        self.assertEqual(list(get.SETS["alpaca"].convert(blank)), [ALPACA_KEPT])
        silent = [{"text": "### Human: Hi"}, {"text": "### Human: Hi### Assistant: "}, {"text": ""}]
        self.assertEqual(list(get.SETS["oasst1"].convert(silent)), [])
        first = dict(ROWS["mmlu-pro"][0], answer_index=0)  # 0 is no blank
        self.assertEqual(len(list(get.SETS["mmlu-pro"].convert([first]))), 1)
        self.assertEqual(list(get.SETS["mmlu-pro"].convert([dict(first, options=[])])), [])

    def test_lines_of_wikitext_become_pages(self):
        lines = ["", " = Plum = \n", "", " A plum is a fruit . \n", " = = Use = = \n", " It is eaten . \n", "",
                 " = E = \n", " A letter . \n"]
        self.assertEqual([page["text"] for page in get.pages({"text": line} for line in lines)],
                         [" = Plum = \n A plum is a fruit . \n = = Use = = \n It is eaten . \n", " = E = \n A letter . \n"])


class Splits(unittest.TestCase):
    def test_a_tenth_is_held_out_and_it_is_always_the_same(self):
        rows = [dict(ALPACA, output=str(i)) for i in range(1000)]
        files = get.files_of(get.SETS["alpaca"], lambda split: rows)
        self.assertEqual(len(files["train"]) + len(files["test"]), 1000)
        self.assertTrue(80 < len(files["test"]) < 120)
        self.assertEqual([row["output"] for row in files["test"][:5]], ["18", "72", "74", "87", "96"])
        self.assertFalse({row["output"] for row in files["train"]} & {row["output"] for row in files["test"]})
        self.assertNotIn("all", files)

    def test_a_set_for_evaluation_is_also_whole(self):
        rows = [ROWS["lambada"][0]] * 50
        files = get.files_of(get.SETS["lambada"], lambda split: rows if split == "test" else self.fail(split))
        self.assertEqual(len(files["all"]), 50)

    def test_published_splits_stay(self):
        files = get.files_of(get.SETS["gsm8k"], lambda split: [{"question": split, "answer": "#### 1"}])
        self.assertEqual({name: rows[0]["question"] for name, rows in files.items()}, {"train": "train", "test": "test"})


class Program(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()

    def get(self, *arguments):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            get.get(*arguments)
        return out.getvalue()

    def test_files_that_are_here_already_are_converted(self):
        line = json.dumps(ROWS["gsm8k"][0]) + "\n"
        (self.path / "train-00000.jsonl").write_text(line * 3)
        (self.path / "test.jsonl.gz").write_bytes(gzip.compress(line.encode()))
        said = self.get("gsm8k", self.path / "out", str(self.path))
        self.assertIn("--data-format gsm8k", said)
        lines = (self.path / "out" / "train.jsonl").read_text().splitlines()
        self.assertEqual([json.loads(line) for line in lines], [ROWS["gsm8k"][1]] * 3)
        self.assertEqual(sorted(path.name for path in (self.path / "out").iterdir()), ["test.jsonl", "train.jsonl"])

    def test_csv_and_json(self):
        self.assertEqual(get.rows_of_bytes("a.csv", b'x,y\r\n"1, ""2""",z\r\n'), [{"x": '1, "2"', "y": "z"}])
        self.assertEqual(get.rows_of_bytes("a.json", b'[{"x": 1}]'), [{"x": 1}])
        # Only \n ends a line: other separators may stand in a string.
        self.assertEqual(get.rows_of_bytes("a.jsonl", '{"x": "a\u2028b"}\n'.encode()), [{"x": "a\u2028b"}])
        with self.assertRaisesRegex(get.Problem, "must end in"):
            get.rows_of_bytes("a.txt", b"")

    def test_what_to_do_without_a_network(self):
        with unittest.mock.patch.object(get.urllib.request, "urlopen", side_effect=urllib.error.URLError("no route")):
            with self.assertRaises(get.Problem) as caught:
                self.get("mathqa", self.path / "out")
        for words in ("cannot be reached from here (no route)", "--from FOLDER", "datasets/allenai/math_qa",
                      "split test and train"):
            self.assertIn(words, str(caught.exception))
        self.assertFalse((self.path / "out").exists())

    def test_what_to_do_about_terms_and_missing_files(self):
        refused = urllib.error.HTTPError("u", 401, "Unauthorized", {}, None)
        with unittest.mock.patch.object(get.urllib.request, "urlopen", side_effect=refused):
            with self.assertRaisesRegex(get.Problem, "HF_TOKEN"):
                self.get("gpqa", self.path / "out")
        gone = urllib.error.HTTPError("u", 404, "Not Found", {}, None)
        with unittest.mock.patch.object(get.urllib.request, "urlopen", side_effect=gone):
            with self.assertRaisesRegex(get.Problem, "answers HTTP 404"):
                self.get("alpaca", self.path / "out")

    def test_folders_that_hold_something_else(self):
        with self.assertRaisesRegex(get.Problem, "no file whose name begins with train"):
            self.get("gsm8k", self.path / "out", str(self.path))
        with self.assertRaisesRegex(get.Problem, "cannot read"):
            self.get("gsm8k", self.path / "out", str(self.path / "nowhere"))
        (self.path / "train.jsonl").write_text('{"other": 1}\n')
        with self.assertRaisesRegex(get.Problem, "no row for train.jsonl is left"):
            self.get("alpaca", self.path / "out", str(self.path))
        (self.path / "train.jsonl").write_text("no json\n")
        with self.assertRaisesRegex(get.Problem, "not of the kind expected"):
            self.get("alpaca", self.path / "out", str(self.path))

    def test_the_command_line(self):
        script = str(pathlib.Path(get.__file__))
        ended = subprocess.run([sys.executable, script, "nothing"], capture_output=True, text=True, check=False)
        self.assertEqual(ended.returncode, 2)
        self.assertIn("gsm8k", ended.stderr)
        ended = subprocess.run([sys.executable, script, "gsm8k", "--from", str(self.path)], capture_output=True, text=True,
                               check=False)
        self.assertEqual(ended.returncode, 1)
        self.assertTrue(ended.stderr.startswith("get.py: "))
        self.assertNotIn("Traceback", ended.stderr)


if __name__ == "__main__":
    unittest.main()
