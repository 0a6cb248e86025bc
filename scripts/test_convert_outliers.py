#!/usr/bin/env python3
"""Tests of convert_outliers.py on files made here. Python's standard library is all they need."""

import contextlib
import io
import json
import pathlib
import pickle
import sys
import tempfile
import unittest
import zipfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import convert_outliers  # noqa: E402

NAME = "mean_times100.0_chip2_Phi-3-mini-4k-instruct"


def text(value):
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def numbers(values):
    return b"](" + b"".join(b"M" + value.to_bytes(2, "little") for value in values) + b"e"


def published(lists):
    """The pickle of a dictionary of lists, operation by operation: PROTO 2, EMPTY_DICT, MARK, items, SETITEMS, STOP."""
    items = b"".join(text(name) + (numbers(channels) if channels else b"]") for name, channels in lists.items())
    return b"\x80\x02}(" + items + b"u."


def archive(data, name=NAME, compression=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        file.writestr(f"{name}/data.pkl", data)
        file.writestr(f"{name}/version", "3\n")
    return out.getvalue()


def block(layer, qkv, o, gate_up, down):
    return {f"model.layers.{layer}.self_attn.qkv_proj": qkv, f"model.layers.{layer}.self_attn.o_proj": o,
            f"model.layers.{layer}.mlp.gate_up_proj": gate_up, f"model.layers.{layer}.mlp.down_proj": down}


# As published: in order of how often a channel was an outlier, with an empty lm_head.
LISTS = {**block(0, [1303, 1099, 491], [583, 642], [], [2930, 6937, 3475, 4484]),
         **block(1, [1113], [], [7], [3971]), "lm_head": []}
ASCENDING = {name: sorted(channels) for name, channels in LISTS.items() if name != "lm_head"}


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def convert(self, content, target, *options):
        """The exit status; stdout and stderr become self.said."""
        (self.folder / "source").write_bytes(content)
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = convert_outliers.main([str(self.folder / "source"), str(self.folder / target), *options])
        self.said = said.getvalue().replace(str(self.folder) + "/", "")
        return status

    def json_of(self, content, *options):
        (self.folder / "out.json").unlink(missing_ok=True)
        self.assertEqual(self.convert(content, "out.json", *options), 0, self.said)
        return json.loads((self.folder / "out.json").read_text())

    def pickle_of(self, outliers, *options):
        """What Python's own reader makes of the torch file."""
        (self.folder / "out.pt").unlink(missing_ok=True)
        self.assertEqual(self.convert(json.dumps(outliers).encode(), "out.pt", *options), 0, self.said)
        with zipfile.ZipFile(self.folder / "out.pt") as file:
            self.assertTrue(all(item.compress_type == zipfile.ZIP_STORED for item in file.infolist()))
            name = file.namelist()[0].partition("/")[0]
            self.assertEqual(file.namelist(), [f"{name}/data.pkl", f"{name}/version"])
            return name, pickle.loads(file.read(f"{name}/data.pkl"))

    def refused(self, content, reason):
        self.assertEqual(self.convert(content, "refused"), 1)
        self.assertIn(reason, self.said)
        self.assertTrue(self.said.startswith("convert_outliers.py: source: "), self.said)
        self.assertFalse((self.folder / "refused").exists())


class BothWays(Case):
    def test_the_published_file_becomes_json(self):
        outliers = self.json_of(archive(published(LISTS)))
        self.assertEqual(outliers, {"model": "Phi-3-mini-4k-instruct", "strategy": "mean_times", "threshold": 100,
                                    "dataset": "chip2", "channels": ASCENDING})
        self.assertEqual(list(outliers["channels"]), list(ASCENDING))
        self.assertEqual(self.said, "out.json holds 12 outlier channels of 8 layers: "
                                    "qkv_proj 4, o_proj 2, gate_up_proj 1, down_proj 5\n")

    def test_every_protocol_of_pickle_is_read(self):
        for protocol in range(1, pickle.HIGHEST_PROTOCOL + 1):
            with self.subTest(protocol):
                data = archive(pickle.dumps({**LISTS, **block(2, [70000, 255], [], [], [])}, protocol))
                self.assertEqual(self.json_of(data)["channels"]["model.layers.2.self_attn.qkv_proj"], [255, 70000])

    def test_json_becomes_the_published_file_and_back(self):
        outliers = self.json_of(archive(published(LISTS)))
        name, lists = self.pickle_of(outliers)
        self.assertEqual((name, lists), (NAME, {**ASCENDING, "lm_head": []}))
        self.assertEqual(list(lists), list(LISTS))
        self.assertEqual(self.json_of((self.folder / "out.pt").read_bytes()), outliers)

    def test_llama_has_its_linears_apart(self):
        _, lists = self.pickle_of(self.json_of(archive(published(LISTS))), "--split")
        for part, joint in {"self_attn.q_proj": "self_attn.qkv_proj", "self_attn.k_proj": "self_attn.qkv_proj",
                            "self_attn.v_proj": "self_attn.qkv_proj", "mlp.gate_proj": "mlp.gate_up_proj",
                            "mlp.up_proj": "mlp.gate_up_proj", "mlp.down_proj": "mlp.down_proj"}.items():
            self.assertEqual(lists[f"model.layers.0.{part}"], ASCENDING[f"model.layers.0.{joint}"])
        self.assertEqual(len(lists), 2 * 7 + 1)
        self.assertEqual(self.json_of((self.folder / "out.pt").read_bytes())["channels"], ASCENDING)

    def test_what_the_name_does_not_say_the_options_do(self):
        content = archive(published(LISTS), "archive")
        self.assertEqual(self.json_of(content), {"channels": ASCENDING})
        self.assertIn("note: the name archive does not say", self.said)
        named = self.json_of(content, *"--strategy static --threshold 6.5 --dataset gsm8k --model m --max-ratio 0.02 "
                             "--samples 8".split())
        del named["channels"]
        self.assertEqual(named, {"model": "m", "strategy": "static", "threshold": 6.5, "max_ratio": 0.02,
                                 "dataset": "gsm8k", "samples": 8})
        self.assertNotIn("note", self.said)

    def test_what_has_no_place_in_the_other_file_is_told(self):
        self.json_of(archive(published({**LISTS, "lm_head": [3]})))
        self.assertIn("note: lm_head is not quantised here", self.said)
        missing = {name: channels for name, channels in LISTS.items() if name != "model.layers.0.mlp.gate_up_proj"}
        self.assertEqual(self.json_of(archive(published(missing)))["channels"], ASCENDING)
        self.assertIn("note: 1 of 8 lists are missing, the first model.layers.0.mlp.gate_up_proj", self.said)
        self.pickle_of({"channels": ASCENDING, "max_abs": ASCENDING})
        self.assertIn("note: a torch file has no place for max_abs", self.said)

    def test_nothing_is_replaced(self):
        (self.folder / "there").write_text("mine")
        self.assertEqual(self.convert(archive(published(LISTS)), "there"), 1)
        self.assertEqual(self.said, "convert_outliers.py: there: is there already; remove it or name another file\n")
        self.assertEqual((self.folder / "there").read_text(), "mine")


class Refusals(Case):
    def test_a_pickle_that_calls_is_refused_and_does_not_run(self):
        class Malicious:
            def __init__(self, call):
                self.call = call

            def __reduce__(self):
                return self.call

        made = self.folder / "made"
        for protocol in range(5):
            for value in (Malicious((made.touch, ())), Malicious((exec, (f"open({str(made)!r}, 'w')",)))):
                self.refused(archive(pickle.dumps({"lm_head": value}, protocol)), "Nothing of it was run")
        self.refused(archive(pickle.dumps(Malicious((exec, ("",))), 2)), "asks for __builtin__.exec")
        self.refused(archive(pickle.dumps(Malicious((exec, ("",))), 4)), "asks for builtins.exec")
        self.assertFalse(made.exists())

    def test_a_tensor_is_refused_by_name(self):
        tensor = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n."
        self.refused(archive(tensor), "asks for torch._utils._rebuild_tensor_v2")
        self.refused(archive(b"\x80\x02X\x01\0\0\0aQ."), "holds a BINPERSID")
        self.refused(archive(pickle.dumps({"lm_head": (1, 2)}, 2)), "holds a TUPLE2")
        self.refused(archive(pickle.dumps({"lm_head": [1.5]}, 2)), "holds a BINFLOAT")

    def test_a_file_cut_anywhere_is_refused(self):
        whole = archive(published(LISTS))
        for length in range(0, len(whole), 7):
            with self.subTest(length):
                self.refused(whole[:length], "")

    def test_a_pickle_cut_or_changed_anywhere_is_refused_or_read(self):
        whole = published(LISTS)
        for length in range(len(whole)):
            self.refused(archive(whole[:length]), "")
        for place in range(len(whole)):
            for value in b"\0(u":
                changed = archive(whole[:place] + bytes([value]) + whole[place + 1 :])
                (self.folder / "changed").unlink(missing_ok=True)
                self.assertIn(self.convert(changed, "changed"), (0, 1))

    def test_a_small_pickle_cannot_grow(self):
        doubled = b"".join(b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(200))
        self.refused(archive(b"\x80\x02]q\0" + doubled + b"0."), "holds a POP")
        self.refused(archive(b"\x80\x02}" + text("lm_head") + b"]q\0h\0as."), "lm_head must hold channels")
        self.refused(archive(b"\x80\x02}" + text("lm_head") + b"]q\0" + doubled[:-2] + b"aas."), "")
        self.refused(archive(b"\0" * (1 << 25), compression=zipfile.ZIP_DEFLATED), "too many for outlier channels")

    def test_lists_that_are_no_channels_are_refused(self):
        name = "model.layers.0.mlp.down_proj"
        for lists, reason in ((LISTS | {"model.layers.0.mlp.experts": []}, "'model.layers.0.mlp.experts' is no layer"),
                              ({name: [3, 3]}, "names a channel twice"),
                              ({name: [-1]}, "found -1"),
                              ({name: ["3"]}, "found str"),
                              ({name: "3"}, "must have a list of channels, not str"),
                              ({name: [1 << 40]}, "found 1099511627776"),
                              ({"model.layers.0.self_attn.q_proj": [1], "model.layers.0.self_attn.v_proj": [2]},
                               "model.layers.0.self_attn.v_proj has other channels"),
                              ({"lm_head": []}, "has no channels of any layer"),
                              ({}, "holds no dictionary"), ([], "holds no dictionary")):
            with self.subTest(reason):
                self.refused(archive(pickle.dumps(lists, 2)), reason)
                self.refused(json.dumps({"channels": lists}).encode(), reason)

    def test_other_files_are_refused(self):
        self.refused(pickle.dumps(LISTS), "is neither a file by torch.save")  # as torch saved before 1.6
        self.refused(b"", "is neither a file by torch.save")
        self.refused(b"[]", "no outlier file")
        self.refused(archive(b"", "a/b"), "not one by torch.save")
        self.assertEqual(self.convert(b"", "missing/out.json"), 1)
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertEqual(convert_outliers.main([str(self.folder / "nothing"), str(self.folder / "out")]), 1)
        self.assertIn("No such file", said.getvalue())


if __name__ == "__main__":
    unittest.main()
