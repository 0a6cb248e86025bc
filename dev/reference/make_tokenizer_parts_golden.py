"""Writes test/data/tokenizer/parts.json: every part of a tokenizer.json that is read, alone and with others, and what
Hugging Face makes of texts with it: ids, and where in the text each token lies.

    python3 dev/reference/make_tokenizer_parts_golden.py          # needs tokenizers, sentencepiece

The file holds texts, a few small models, and cases. A case is a model, the fields of tokenizer.json that it `change`s,
and for each text the ids and mostly the ranges: begin and end of each token, in bytes of the UTF-8 text, one after the
other. `sentencepiece` holds the ids that the library itself gives with test/data/tokenizer/sentencepiece/tokenizer.model
and `more` bytes behind it, which switch its rules for spaces.
"""

import json
import pathlib

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers as norm, pre_tokenizers as pre, processors, trainers

OUT = pathlib.Path(__file__).resolve().parents[2] / "test" / "data" / "tokenizer" / "parts.json"

SENTENCES = """
Tom's pear and the elm tree: two pears, three elms, 7.5% of 12345 plums.
def add(a, b):\n    return a + b\n\nNatalia sold 48/2 = 24 clips; she'll sell more in May.
Éclairs, cafés, naïve façades; größer, schöner. İstanbul'da ısı. Ὀδυσσεύς, ΣΟΦΟΣ, σοφός.
北京和上海。東京の天気は良い。 한국어 문장입니다. Привет, мир! नमस्ते दुनिया
""".strip().replace("\\n", "\n").split("\n")

TEXTS = [
    "", " ", "   ", "\n", "a", " a b ", "The  pear, the Elm   ", "don't we'll I'M", "12345 plums, 7.5% – ½ ² Ⅷ ٣٤",
    "tab\tand  two\u00a0blanks \u3000", "\u2028x\u0085y\u2003z\u200bw", "line one\n  line two  \n\n", "\r\n a\r\n",
    "Éclair café naïve Ａﬁ ①", "e\u0301a\u0308\u0323 vs é ạ̈ \u0301x", "q\u0307\u0323 q\u0323\u0307", "a\u0316\u0301\u0327b",
    "İSTANBUL ısı Iı ß ẞ", "ΣΑΣ ὈΔΥΣΣΕΎΣ σ", "한국어 \u1112\u1161\u11ab \u1112\u1161 각", "ﷺ ㎏ ｶﾞ \u0344 ẛ̣",
    "\u0958 \U0001d15e", "北京と 🦊!?... (yes)", "👩\u200d👩\u200d👧 🇫🇷 👍🏽 ❤️", "$1+2<3=4>~`^|_-*", "snake_case-kebab camelCase HTTPServer",
    "<s>", "<s><s> <s>", "word words sword wordé word", "x <l> y <l>  <r> z<r>", "  <r>   <l>", "\t<end>\n<end> ",
    "Norm NORM norm ñ", "<0x41>", "▁▁a ▁b", "ĠĊ", "a" * 30, "theelm " * 4, "unknown: ꙮ☃ꙮ☃ ☃", "--a--b----c",
]


def letters():
    """Words of the byte-level alphabet."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(SENTENCES * 2, trainers.BpeTrainer(
        vocab_size=380, show_progress=False, initial_alphabet=pre.ByteLevel.alphabet()))
    return tokenizer


def words():
    """Words behind U+2581; bytes for what the vocabulary lacks."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre.Metaspace()
    tokens = ["<unk>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer.train_from_iterator(SENTENCES * 2, trainers.BpeTrainer(
        vocab_size=460, show_progress=False, limit_alphabet=70, special_tokens=tokens))
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = []
    return Tokenizer.from_str(json.dumps(state))


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre.Metaspace()
    tokenizer.train_from_iterator(SENTENCES * 2, trainers.UnigramTrainer(
        vocab_size=260, show_progress=False, special_tokens=["<unk>"], unk_token="<unk>"))
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = []
    state["model"]["vocab"] = [entry for entry in state["model"]["vocab"] if entry[0] not in ("京", "é", "7")]
    return Tokenizer.from_str(json.dumps(state))


def with_bytes(model):
    """The Unigram model, with tokens for bytes."""
    vocab = model["vocab"] + [[f"<0x{byte:02X}>", -20.0] for byte in range(256)]
    return model | {"vocab": vocab, "byte_fallback": True}


BEHAVIOURS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
REGEXES = [
    r"\s+$", r"^\s+", r"\w+", r"\W", r"[^\w\s]+", r"\b", r"\B", r"[[:punct:]]+", r"[[:alpha:]][[:alnum:]]*", r"[^[:space:]]+",
    r"\p{Han}+", r"\p{Lu}\p{Ll}*", r"\p{^L}+", r"\P{Letter}+", r"(?i)the|ELM", r"(?i:the)|ELM", r"x|a(?i)b|C", r"(?m:e.t)",
    r"\d{1,3}(?=(?:\d{3})*\b)", r"l{,2}e", r"(?<=\s)\S", r"(?<!\d)\.", r"[A-Za-z[0-9]]+", r"(?:a|b)+?", r"(?>\s+)(?!$)", r"\h+",
    r"(.)\1", r"(?<x>.)\k<x>", r"\R", r"\A.|.\z", r".", r"\u0065\x{301}?", r"[\u4e00-\u9fff]+", r"$", r"(?#none)-+",
    r"[!-/:-~]?[A-Za-z]+| ?[^\s\p{L}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
]

ADDED = [
    AddedToken("word", single_word=True, normalized=False), AddedToken("<l>", lstrip=True, normalized=False),
    AddedToken("<r>", rstrip=True, normalized=True), AddedToken("<end>", lstrip=True, rstrip=True, special=True),
    AddedToken("Norm", normalized=True), AddedToken("ñ", normalized=True), AddedToken("<s>", special=True),
    AddedToken("  ", lstrip=True, rstrip=True, normalized=False)]


def cases():
    """(name, model, what sets the parts of a tokenizer)"""
    bytes_ = pre.ByteLevel(add_prefix_space=False, use_regex=False)

    def normalizer(model, *steps):
        def change(tokenizer):
            tokenizer.normalizer = steps[0] if len(steps) == 1 else norm.Sequence(list(steps))
            tokenizer.pre_tokenizer = bytes_ if model == "letters" else tokenizer.pre_tokenizer
        return model, change

    def pre_tokenizer(model, *steps):
        def change(tokenizer):
            tokenizer.pre_tokenizer = steps[0] if len(steps) == 1 else pre.Sequence(list(steps))
        return model, change

    for form in (norm.NFC, norm.NFD, norm.NFKC, norm.NFKD, norm.Lowercase, norm.Strip, norm.StripAccents):
        yield form.__name__, *normalizer("letters", form())
    yield "NFD StripAccents Lowercase", *normalizer("letters", norm.NFD(), norm.StripAccents(), norm.Lowercase())
    yield "Lowercase NFKC Strip", *normalizer("words", norm.Lowercase(), norm.NFKC(), norm.Strip())
    yield "Strip left", *normalizer("letters", norm.Strip(left=True, right=False))
    yield "Strip right", *normalizer("letters", norm.Strip(left=False, right=True))
    yield "Prepend Replace", *normalizer("words", norm.Prepend("▁"), norm.Replace(" ", "▁"))
    yield "Replace regex", *normalizer("letters", norm.Replace(Regex(r"\s{2,}"), " "))
    yield "Replace by nothing", *normalizer("letters", norm.Replace(Regex(r"[aeiou]"), ""), norm.Replace("l", "ll"))
    yield "Strip Replace end", *normalizer("letters", norm.Strip(), norm.Replace(Regex(r"\z"), "."))

    for behaviour in BEHAVIOURS:
        yield f"Punctuation {behaviour}", *pre_tokenizer("letters", pre.Punctuation(behaviour), bytes_)
        for invert in (False, True):
            yield f"Split {behaviour} {invert}", *pre_tokenizer("words", pre.Split(Regex("[ ,]"), behaviour, invert))
            yield f"Split string {behaviour} {invert}", *pre_tokenizer("words", pre.Split("-", behaviour, invert))
    for regex in REGEXES:
        yield f"Split {regex}", *pre_tokenizer("letters", pre.Split(Regex(regex), "removed"), bytes_)
    yield "Whitespace", *pre_tokenizer("letters", pre.Whitespace(), bytes_)
    yield "WhitespaceSplit", *pre_tokenizer("letters", pre.WhitespaceSplit(), bytes_)
    yield "Digits", *pre_tokenizer("letters", pre.Digits(False), bytes_)
    yield "Digits individual", *pre_tokenizer("letters", pre.Digits(True), bytes_)
    yield "ByteLevel prefix", *pre_tokenizer("letters", pre.ByteLevel(add_prefix_space=True))
    for scheme in ("always", "first", "never"):
        for split in (True, False):
            yield f"Metaspace {scheme} {split}", *pre_tokenizer("words", pre.Metaspace(prepend_scheme=scheme, split=split))
    yield "Strip Metaspace first", "words", lambda t: (
        setattr(t, "normalizer", norm.Strip()), setattr(t, "pre_tokenizer", pre.Metaspace(prepend_scheme="first", split=False)))
    yield "WhitespaceSplit Metaspace first", *pre_tokenizer("words", pre.WhitespaceSplit(), pre.Metaspace(prepend_scheme="first"))

    for options in ({"ignore_merges": True}, {"byte_fallback": False}, {"byte_fallback": False, "fuse_unk": False},
                    {"byte_fallback": False, "unk_token": None}):
        yield f"BPE {options}", "words", options
    yield "unigram", "unigram", {}
    yield "unigram bytes", "unigram", with_bytes
    yield "unigram whole", *pre_tokenizer("unigram", pre.Metaspace(split=False))
    yield "unigram NFKC", *normalizer("unigram", norm.NFKC(), norm.Lowercase())

    for model, steps in (("letters", []), ("words", [norm.NFC(), norm.Prepend("▁"), norm.Replace(" ", "▁")]),
                         ("letters", [norm.Lowercase(), norm.StripAccents()]), ("unigram", [norm.NFD()])):
        yield f"added {model} {len(steps)}", model, lambda t, steps=steps: (
            steps and setattr(t, "normalizer", norm.Sequence(steps)), t.add_tokens(ADDED))
    for prefix in (False, True):
        yield f"trimmed {prefix}", "letters", lambda t, prefix=prefix: (
            t.add_tokens(ADDED), setattr(t, "pre_tokenizer", pre.ByteLevel(add_prefix_space=prefix)),
            setattr(t, "post_processor", processors.ByteLevel(add_prefix_space=prefix, trim_offsets=True)))


def of_sentencepiece():
    model = (OUT.parent / "sentencepiece" / "tokenizer.model").read_bytes()
    # The library finds no special token in a text; what stands around them is another matter.
    texts = [text for text in TEXTS if "<s>" not in text]
    result = []
    for more in ([], [0x18, 0], [0x20, 1], [0x18, 0, 0x20, 1]):  # normalizer_spec (3): add_dummy_prefix (3), .. (4)
        more = [0x1A, len(more), *more] if more else []
        processor = sentencepiece.SentencePieceProcessor(model_proto=model + bytes(more))
        result.append({"more": more, "texts": texts, "ids": [processor.encode(text) for text in texts]})
    return result


def byte_ranges(text, offsets):
    place = [0]
    for character in text:
        place.append(place[-1] + len(character.encode()))
    return [place[end] for pair in offsets for end in pair]


def main():
    makers = {"letters": letters(), "words": words(), "unigram": unigram()}
    base = {name: json.loads(tokenizer.to_str()) for name, tokenizer in makers.items()}
    result = {"texts": TEXTS, "models": base, "cases": [], "sentencepiece": of_sentencepiece()}
    for name, model, change in cases():
        state = json.loads(json.dumps(base[model]))
        if isinstance(change, dict):
            state["model"] |= change
        elif change is with_bytes:
            state["model"] = with_bytes(state["model"])
        tokenizer = Tokenizer.from_str(json.dumps(state))
        if callable(change) and change is not with_bytes:
            change(tokenizer)
        state = json.loads(tokenizer.to_str())
        case = {"name": name, "model": model, "change": {k: v for k, v in state.items() if v != base[model].get(k)}}
        if "model" in case["change"]:  # only what differs from the model
            case["change"]["model"] = {k: v for k, v in state["model"].items() if v != base[model]["model"].get(k)}
        encodings = [tokenizer.encode(text, add_special_tokens=False) for text in TEXTS]
        case["ids"] = [encoding.ids for encoding in encodings]
        if name not in (f"Split {regex}" for regex in REGEXES):  # which differ in where they cut alone
            case["ranges"] = [byte_ranges(text, encoding.offsets) for text, encoding in zip(TEXTS, encodings)]
        result["cases"].append(case)
    with open(OUT, "w") as file:
        json.dump(result, file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
