"""Writes test/data/tokenizer: small tokenizers with the pipelines of real models, and what Hugging Face makes of texts.

    python3 dev/reference/make_tokenizer_golden.py          # needs tokenizers, transformers, sentencepiece, protobuf

Every tokenizer is a directory as a model has it, trained here on the sentences below: only the vocabulary is small, the
normalizers, pre-tokenizers, decoders, post-processors and added tokens are those of the model it is named after.
golden.json holds the texts once and, for each tokenizer, the ids of every text, lists of ids and their decoded text,
all computed by the `tokenizers` library. chat_templates.json holds the chat templates of models and what transformers
renders with them. conversations.json holds the ids of whole conversations and what their assistant said, by transformers'
own mask. llama2.json holds checksums of the ids that the real LLaMA 2 tokenizer gives to real texts; it is
written where ../shared/reference has them.
"""

import json
import pathlib
import random
import shutil
import tempfile

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, LlamaTokenizerFast, PreTrainedTokenizerFast
from transformers.tokenization_utils_base import generate_merges

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "test" / "data" / "tokenizer"
SHARED = ROOT.parent / "shared" / "reference"

SENTENCES = """
The quick brown fox jumps over the lazy dog, and the dog doesn't mind: it's sleeping.
Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May.
How many clips did Natalia sell altogether in April and May? She sold 48/2 = <<48/2=24>>24 clips in May.
We'll see what they've done, what I'd do, and why you're here; I'm sure he won't.
Write a function that returns the sum of the first n numbers, then explain how it works.
def add(a, b):\n    return a + b\n\n\nfor (int i = 0; i < 10; ++i) { total += values[i]; }
Der schnelle braune Fuchs springt über den faulen Hund. Größe, Straße, Übermut, schön.
Le cœur a ses raisons que la raison ne connaît point ; où est l'été, déjà passé ?
El niño pequeño comió una manzana y después se durmió. ¿Dónde está la biblioteca?
Быстрая коричневая лиса прыгает через ленивую собаку. Сколько стоит этот хлеб?
敏捷的棕色狐狸跳过了懒狗。今天天气很好，我们去公园吧。
素早い茶色の狐がのろまな犬を飛び越えた。ありがとうございます。
빠른 갈색 여우가 게으른 개를 뛰어넘는다. 감사합니다.
الثعلب البني السريع يقفز فوق الكلب الكسول. שלום עולם, מה שלומך היום?
नमस्ते दुनिया, आप कैसे हैं? สวัสดีชาวโลก คุณสบายดีไหม
Γειά σου Κόσμε, τι κάνεις σήμερα; Xin chào thế giới, hôm nay bạn khỏe không?
The answer is 3.14159, or 22/7, or about 3; in 1999 it was 1,000,000 times 2^10.
A B C D E F G H I J K L M N O P Q R S T U V W X Y Z a b c d e f g h i j k l m n o p q r s t u v w x y z
0 1 2 3 4 5 6 7 8 9 00 10 12 100 123 1000 2024 ! " # $ % & ' ( ) * + , - . / : ; < = > ? @ [ \\ ] ^ _ ` { | } ~
""".strip().replace("\\n", "\n").split("\n")

TEXTS = [
    "", " ", "  ", "   ", "\n", "\r\n", "\t", "a", " a", "a ", "  a", "a  b", "a   b    c     d",
    "Hello world", " Hello world", "Hello, y'all! How are you? I'm fine, we'LL see, they'VE, it'S, 'Tis, she'ſ",
    "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n#### 72",
    "1", "12", "123", "1234", "1234567890", "3.14159e-10", "x1y22z333", "½ ² Ⅷ ٣٤٥ १२३ 一二三 ①②",
    "Größe Straße ÄÖÜ cœur déjà où ça", "¿Dónde está? ¡Aquí!", "Быстрая лиса", "敏捷的棕色狐狸跳过了懒狗。",
    "素早い茶色の狐、カタカナ", "빠른 갈색 여우", "الثعلب البني", "שלום עולם", "नमस्ते दुनिया", "สวัสดีชาวโลก",
    "Γειά σου Κόσμε", "Xin chào thế giới", "ქართული ენა", "አማርኛ", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝒯ℯ𝓍𝓉",
    "😀😃 👩‍👩‍👧‍👦 🇫🇷🇩🇪 👍🏽 ❤️ 🏴‍☠️", "e\u0301 vs \u00e9, n\u0303, o\u0308\u0304, \u0301 alone",
    "Z\u0351\u036b\u0343\u036a\u0302algo\u0488", "\u200b\u200c\u200d\ufeff\u2060", "\u00a0nbsp\u2003em\u3000ideographic\u1680\u180e\u202f.",
    "\u0085next\u2028line\u2029para\x0b\x0c", "\x00", "a\x00b\x01\x02\x1b[0m\x7f\x80\x9f", "\ud7ff\ue000\ufffd\uffff\U0010ffff",
    "if x:\n\treturn  {\n\t\t'a': [1, 2],\n\t}\n\n\n", "    indented\n        more\n\n   \n  end   ",
    "trailing spaces   ", "   leading", "\n\n\n\n", " \n \n ", "a\n\nb\r\nc\rd", "\t\t\ta\t b",
    "<s>", "</s>", "<unk>", "<s>Hello</s>", " <s> Hello </s> world", "a</s>b", "<s><s></s></s>", "<s", "<ss>", "< s>",
    "<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\n", "<|im_start|><|im_end|>", "<|im_start", "|im_end|>",
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>", "<|end|>", "<|user|>\nHi<|end|>\n<|assistant|>\n",
    "Hi <|end|>   \n x", "Hi<|end|> <|end|>  <|end|>", "[INST] Hi [/INST] there </s><s>[INST]", "<|endoftext|>", "<pad>",
    "a word, awordb, word_x, word word", " word", "keyword word2 é-word wordé", "  pad  pad", "x <l> y <l>  <r> z<r>",
    "\n<l>\t<l>", "<r>\n\n<l>", "Norm NORM norm", "a Norm b", "Norm", " Norm",
    "<0x41>", "<0x0A><0xFF>", "▁", "▁▁a", " ▁a▁ b", "ĠHello", "Ġ", "Ċ", "Ä", "#version", "\\n\\t", "'", "''", "'s", " 's", "'sa",
    "don't DON'T 'll'll", "http://www.example.com/a?b=c&d=e#f", "user@example.com", "C:\\dir\\file.txt", "--option=value",
    "SELECT * FROM t WHERE a<>b;", "\\frac{1}{2} \\sum_{i=0}^{n} x_i", "{\"a\": [1, 2.5, null, true], \"b\": \"\\u00e9\"}",
    "CamelCaseString snake_case_string kebab-case", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "abababababababababab",
    "!!!!!!!!??????......,,,,,,", "=" * 40, "-" * 37, "~!@#$%^&*()_+", "…—–‘’“”«»", "№ § ¶ † ‡ • ™ © ®", "∑∏∫√∞≈≠≤≥",
    "ﬁ ﬂ ﬀ ﬃ", "ǅ ǈ ǋ", "İ i̇ ı I", "ß ẞ SS", "Ａｂｃ１２３", "𐍈𐌰𐌹", "\U0001f1e6\U0001f1e6\U0001f1e6",
]
# [unit, count]: runs, kept short in the file
RUNS = [["a", 200], [" ", 200], ["\n", 60], ["ab ", 40], ["1", 50], ["é", 50], ["😀", 12], ["の", 20], ["\u0301", 20],
        ["the quick ", 20], ["=-", 40], [" \n", 30], ["\t ", 20], ["\x00", 20], ["<s>", 10], ["▁", 30], ["'s", 20]]

LLAMA3_WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def special(content, **flags):
    return AddedToken(content, special=True, normalized=False, **flags)


def train(tokenizer, vocab_size, special_tokens=(), byte_fallback=False, **options):
    tokens = list(special_tokens)
    if byte_fallback:
        tokens += [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=tokens, show_progress=False, **options)
    tokenizer.train_from_iterator(SENTENCES * 2, trainer)
    if byte_fallback:  # byte tokens belong to the model's vocabulary alone
        state = json.loads(tokenizer.to_str())
        state["added_tokens"] = []
        tokenizer = Tokenizer.from_str(json.dumps(state))
    return tokenizer


def template(before, tokenizer):
    return processors.TemplateProcessing(single=f"{before} $A", pair=f"{before} $A {before} $B:1",
                                         special_tokens=[(before, tokenizer.token_to_id(before))])


def smollm2():
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer = train(tokenizer, 560, specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    return tokenizer, {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>",
                       "pad_token": "<|im_end|>", "add_prefix_space": False}


def llama3():
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3_WORDS), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer = train(tokenizer, 600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    state = json.loads(tokenizer.to_str())
    # A token that no merge builds: ignore_merges finds it all the same.
    state["model"]["vocab"]["\u0120Unicode"] = len(state["model"]["vocab"])
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.add_special_tokens([special(t) for t in ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>",
                                                       "<|end_header_id|>", "<|eot_id|>")])
    tokenizer.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=False), template("<|begin_of_text|>", tokenizer)])
    return tokenizer, {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "clean_up_tokenization_spaces": True}


def llama2_model(vocab_size, metaspace=None):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if metaspace:
        tokenizer.pre_tokenizer = metaspace
    else:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    # Merges that stay within words, as SentencePiece learns them; the pipeline itself does not split.
    trained = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained = train(trained, vocab_size, ["<unk>", "<s>", "</s>"], byte_fallback=True, limit_alphabet=120)
    tokenizer.model = trained.model
    return tokenizer


def llama2():
    tokenizer = llama2_model(560)
    tokenizer.add_special_tokens([special(t) for t in ("<unk>", "<s>", "</s>")])
    tokenizer.post_processor = template("<s>", tokenizer)
    return tokenizer, {"bos_token": {"__type": "AddedToken", "content": "<s>", "lstrip": False, "normalized": False,
                                     "rstrip": False, "single_word": False},
                       "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True, "add_eos_token": False,
                       "legacy": False, "tokenizer_class": "LlamaTokenizer"}


def mistral():
    tokenizer = llama2_model(540, pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False))
    tokenizer.add_special_tokens([special(t) for t in ("<unk>", "<s>", "</s>")])
    tokenizer.add_special_tokens([special("[INST]"), special("[/INST]")])
    tokenizer.post_processor = template("<s>", tokenizer)
    return tokenizer, {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True, "add_eos_token": True}


def phi3():
    tokenizer = llama2_model(550)
    tokenizer.add_special_tokens([special("<unk>"), special("<s>"), special("</s>", rstrip=True), special("<|endoftext|>")])
    tokenizer.add_special_tokens([special(t, rstrip=True) for t in ("<|assistant|>", "<|system|>", "<|end|>", "<|user|>")])
    return tokenizer, {"bos_token": "<s>", "eos_token": "<|endoftext|>", "add_bos_token": False, "add_eos_token": False,
                       "legacy": False}


def odd_byte_level():
    """GPT-2's pipeline with a prefix space, old-style merges, and added tokens of every kind."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer = train(tokenizer, 420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.add_tokens([
        AddedToken("word", single_word=True, normalized=False), AddedToken("<l>", lstrip=True, normalized=False),
        AddedToken("<r>", rstrip=True, normalized=True), AddedToken("pad", lstrip=True, rstrip=True, single_word=True),
        AddedToken("Norm", normalized=True), AddedToken("    ", normalized=False), AddedToken("é́", normalized=False),
        AddedToken("<|end|>", special=True, normalized=False), AddedToken("<|end|>   ", special=True, normalized=False)])
    return tokenizer, {}


def odd_metaspace():
    """Words split at the metaspace, unknown characters not fused, no bytes; tokens found in the normalized text."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(Regex(r"N(?=o)"), "n"),
                                                 normalizers.Replace("déjà", "deja")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Metaspace("▁", prepend_scheme="always", split=True),
        pre_tokenizers.Digits(individual_digits=False),
        pre_tokenizers.Split("=", behavior="merged_with_previous"),
        pre_tokenizers.Split(Regex(r"[.,!?]+"), behavior="merged_with_next"),
        pre_tokenizers.Split(Regex(r"[a-z]+|[^a-z]+"), behavior="removed", invert=True),
        pre_tokenizers.Split(Regex(r"(?=[A-Z])"), behavior="isolated"),
        pre_tokenizers.Split("-", behavior="contiguous"),
        pre_tokenizers.Split("~", behavior="removed")])
    tokenizer.decoder = decoders.Metaspace("▁", prepend_scheme="always")
    tokenizer = train(tokenizer, 400, ["<unk>"], limit_alphabet=100)
    tokenizer.add_tokens([AddedToken("Norm", normalized=True), AddedToken("word", normalized=True, single_word=True),
                          AddedToken("<s>", special=True, normalized=True)])
    return tokenizer, {}


def sentencepiece_model(directory, legacy):
    """tokenizer.model alone: SentencePiece's own file, encoded by Hugging Face's LLaMA tokenizer."""
    corpus = directory / "corpus.txt"
    corpus.write_text("\n".join(SENTENCES * 2))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(directory / "tokenizer"), vocab_size=700, model_type="bpe", byte_fallback=True,
        character_coverage=0.98, normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True,
        max_sentence_length=10000, num_threads=1, minloglevel=2,
        allow_whitespace_only_pieces=True)
    corpus.unlink()
    (directory / "tokenizer.vocab").unlink()
    config = {"legacy": legacy, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True}
    if legacy:
        (directory / "added_tokens.json").write_text(json.dumps({"<|end|>": 701, "<|user|>": 700}) + "\n")
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    return converted(directory)


def converted(directory):
    """tokenizer.model as Hugging Face's LLaMA tokenizer, with the merges ranked by the pieces' scores.

    transformers 5 ranks them by id, which is not what the model does: LLaMA 2's runs of spaces have small ids and the
    lowest scores. The tokenizer.json files of these models, written by transformers 4, rank them by score.
    """
    pieces = sentencepiece.SentencePieceProcessor(str(directory / "tokenizer.model"))
    vocab = {pieces.id_to_piece(i): i for i in range(len(pieces))}
    scores = {pieces.id_to_piece(i): pieces.get_score(i) for i in range(len(pieces))}
    state = json.loads(LlamaTokenizerFast.from_pretrained(directory).backend_tokenizer.to_str())
    state["model"]["merges"] = [list(merge) for merge in generate_merges(vocab, scores)]
    return Tokenizer.from_str(json.dumps(state))


def golden(directory, tokenizer, texts):
    vocab_size = max(tokenizer.get_vocab().values()) + 1
    rng = random.Random(vocab_size)
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    # What a model may generate: any tokens in any order, so bytes that are no character as well.
    lists = [[rng.randrange(vocab_size) for _ in range(rng.randrange(1, 12))] for _ in range(25)]
    first_bytes = [i for i in range(vocab_size) if len(tokenizer.id_to_token(i) or "") == 1 or
                   (tokenizer.id_to_token(i) or "").startswith("<0x")][:256]
    lists += [[rng.choice(first_bytes) for _ in range(rng.randrange(1, 9))] for _ in range(35)]
    loader = PreTrainedTokenizerFast if (directory / "tokenizer.json").exists() else LlamaTokenizerFast
    pick = [i for i, text in enumerate(texts) if len(text) < 80]
    return {
        "vocab_size": vocab_size,
        "ids": ids,
        "with_special": loader.from_pretrained(directory)("Hi").input_ids,
        "decoded": [[i, tokenizer.decode(ids[i], skip_special_tokens=False), tokenizer.decode(ids[i])]
                    for i in pick if tokenizer.decode(ids[i], skip_special_tokens=False) != texts[i]],
        "lists": [[l, tokenizer.decode(l, skip_special_tokens=False), tokenizer.decode(l)] for l in lists],
    }


# As the models' own tokenizer_config.json has them; LLaMA 3.1's without its tool calls.
CHAT_TEMPLATES = {
    "smollm2": ("chatml", "<|im_start|>", "<|im_end|>",
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a "
        "helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] "
        "+ '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ "
        "'<|im_start|>assistant\n' }}{% endif %}"),
    "chatml": ("chatml", "<s>", "<|im_end|>",
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"),
    "chatml_escaped": ("chatml", None, "<|im_end|>",
        "{%- if messages[0].role == 'system' %}{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}"
        "{%- else %}{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{%- endif %}"
        "{%- for message in messages %}{%- if message.role != 'system' %}{{- '<|im_start|>' + message.role + '\\n' + "
        "message.content + '<|im_end|>' + '\\n' }}{%- endif %}{%- endfor %}"
        "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"),
    "llama2": ("llama2", "<s>", "</s>",
        "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = "
        "messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
        "{% for message in loop_messages %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + "
        "system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}"
        "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == "
        "'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"),
    "llama3": ("llama3", "<|begin_of_text|>", "<|eot_id|>",
        "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
        "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
        "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"),
    "llama3_1": ("llama3", "<|begin_of_text|>", "<|eot_id|>",
        '{{- bos_token }}\n{%- if not date_string is defined %}\n    {%- set date_string = "26 Jul 2024" %}\n{%- endif %}\n'
        "{%- if messages[0]['role'] == 'system' %}\n    {%- set system_message = messages[0]['content']|trim %}\n"
        '    {%- set messages = messages[1:] %}\n{%- else %}\n    {%- set system_message = "" %}\n{%- endif %}\n'
        '{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}\n{{- "Cutting Knowledge Date: December 2023\\n" }}\n'
        '{{- "Today Date: " + date_string + "\\n\\n" }}\n{{- system_message }}\n{{- "<|eot_id|>" }}\n'
        "{%- for message in messages %}\n    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ "
        "message['content'] | trim + '<|eot_id|>' }}\n{%- endfor %}\n{%- if add_generation_prompt %}\n"
        "    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n{%- endif %}\n"),
    "phi3": ("phi3", "<s>", "<|endoftext|>",
        "{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}"
        "{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == "
        "'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"),
    "phi3_first": ("phi3", "<s>", "<|endoftext|>",
        "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') %}{{'<|user|>' + '\n' + message['content'] + "
        "'<|end|>' + '\n' + '<|assistant|>' + '\n'}}{% elif (message['role'] == 'assistant') %}{{message['content'] + '<|end|>' + "
        "'\n'}}{% endif %}{% endfor %}"),
    "zephyr": ("zephyr", "<s>", "</s>",
        "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n"
        "{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == "
        "'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and "
        "add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"),
    "zephyr_other_eos": ("zephyr", "<|endoftext|>", "<|endoftext|>",
        "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}{% endfor %}"
        "{# <|user|> #}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"),
    "mistral": ("mistral", "<s>", "</s>",
        "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + "
        "' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% endif %}{% endfor %}"),
    "mistral_0_1": ("mistral", "<s>", "</s>",
        "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + "
        "' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token + ' ' }}{% endif %}{% endfor %}"),
    "mistral_0_3": ("mistral", "<s>", "</s>",
        '{%- if messages[0]["role"] == "system" %}{%- set system_message = messages[0]["content"] %}{%- set loop_messages = '
        'messages[1:] %}{%- else %}{%- set loop_messages = messages %}{%- endif %}{{- bos_token }}{%- for message in '
        'loop_messages %}{%- if message["role"] == "user" %}{%- if loop.last and system_message is defined %}{{- "[INST] " + '
        'system_message + "\\n\\n" + message["content"] + "[/INST]" }}{%- else %}{{- "[INST] " + message["content"] + "[/INST]" }}'
        '{%- endif %}{%- elif message["role"] == "assistant" %}{{- " " + message["content"] + eos_token}}{%- endif %}{%- endfor %}'),
}


def chat_templates():
    user = {"role": "user", "content": "How many?\nTell me."}
    system = {"role": "system", "content": "Be brief."}
    answer = {"role": "assistant", "content": "ANSWER"}
    follow_up = {"role": "user", "content": "And in May?"}
    last = {"role": "assistant", "content": "12 in May."}
    takes_no_system = ("phi3_first", "mistral", "mistral_0_1")
    # mistral_0_3 says the system message in a last user message alone: not at all where the assistant comes last.
    drops_system = (*takes_no_system, "mistral_0_3")
    result = []
    for name, (family, bos, eos, template) in CHAT_TEMPLATES.items():
        tokens = {"eos_token": eos} | ({"bos_token": bos} if bos else {})
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), **tokens)
        tokenizer.chat_template = template

        def render(*messages, prompt=True):
            return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)

        result.append({
            "name": name, "family": family, "config": tokens | {"chat_template": template},
            "user": user["content"], "prompt": render(user), "conversation": render(user, answer, prompt=False),
            "system": system["content"],
            "prompt_with_system": None if name in takes_no_system else render(system, user),
            "follow_up": follow_up["content"], "last": last["content"],
            "turns": render(user, answer, follow_up, last, prompt=False),
            "turns_with_system":
                None if name in drops_system else render(system, user, answer, follow_up, last, prompt=False)})
    return result


# The part of a template that says what the assistant said, and the same with the mask of transformers around it.
ANSWERS = {
    "smollm2": ("{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}",
                "{{'<|im_start|>' + message['role'] + '\n'}}{% if message['role'] == 'assistant' %}{% generation %}"
                "{{message['content'] + '<|im_end|>'}}{% endgeneration %}{% else %}{{message['content'] + '<|im_end|>'}}"
                "{% endif %}{{'\n'}}"),
    "llama3": ("{{ content }}",
               "{% if message['role'] == 'assistant' %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
               "{% generation %}{{ message['content'] | trim + '<|eot_id|>' }}{% endgeneration %}{% else %}{{ content }}"
               "{% endif %}"),
    "phi3": ("{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}",
             "{{'<|assistant|>\n'}}{% generation %}{{message['content'] + '<|end|>'}}{% endgeneration %}{{'\n'}}"),
    "llama2": ("{{ ' '  + content.strip() + ' ' + eos_token }}",
               "{{ ' ' }}{% generation %}{{ content.strip() + ' ' + eos_token }}{% endgeneration %}"),
}


def conversations():
    messages = [{"role": "system", "content": "Be brief."},
                {"role": "user", "content": "How many clips did Natalia sell in April?\nTell me."},
                {"role": "assistant", "content": "She sold 48 clips."},
                {"role": "user", "content": "And in May?"},
                {"role": "assistant", "content": "48/2 = 24 clips,\n\nhalf as many."},
                {"role": "user", "content": "  Größe?  "},
                {"role": "assistant", "content": "clips"}]
    result = []
    for name, (plain, masked) in ANSWERS.items():
        _, bos, eos, template = CHAT_TEMPLATES[name]
        assert template.count(plain) == 1, name
        tokenizer = AutoTokenizer.from_pretrained(OUT / name, bos_token=bos, eos_token=eos)
        cases = []
        for said in (messages, messages[1:], messages[:3], messages[1:5]):
            text = tokenizer.apply_chat_template(said, chat_template=template, tokenize=False)
            assert text == tokenizer.apply_chat_template(said, chat_template=template.replace(plain, masked), tokenize=False)
            encoded = tokenizer.apply_chat_template(said, chat_template=template.replace(plain, masked), tokenize=True,
                                                    return_dict=True, return_assistant_tokens_mask=True)
            mask = encoded["assistant_masks"]
            end = len(mask) - mask[::-1].index(1)  # behind the last answer there is nothing to learn
            cases.append({"messages": said, "ids": encoded["input_ids"][:end], "mask": mask[:end]})
        result.append({"name": name, "chat_template": template, "eos_token": eos, "cases": cases})
    return result


def fnv1a(ids):
    """64 bits of the ids, each as four bytes, little-endian."""
    value = 0xCBF29CE484222325
    for byte in b"".join(i.to_bytes(4, "little") for i in ids):
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{value:016x}"


def real_llama2():
    with tempfile.TemporaryDirectory() as directory:
        shutil.copyfile(SHARED / "llama2_tokenizer.model", pathlib.Path(directory) / "tokenizer.model")
        tokenizer = converted(pathlib.Path(directory))
    result = {}
    for name in ("gsm8k_train_1500.jsonl", "gsm8k_test_300.jsonl", "self_instruct_seed_tasks.jsonl"):
        ids = []
        for line in (SHARED / name).read_text().splitlines():
            ids += tokenizer.encode(line, add_special_tokens=False).ids
        result[name] = {"tokens": len(ids), "fnv1a": fnv1a(ids)}
    return result


def write(name, value):
    with open(OUT / name, "w") as file:
        json.dump(value, file, separators=(",", ":"))
        file.write("\n")


def main():
    texts = TEXTS + [unit * count for unit, count in RUNS]
    result = {"texts": TEXTS, "runs": RUNS, "tokenizers": {}}
    for make in (smollm2, llama3, llama2, mistral, phi3, odd_byte_level, odd_metaspace):
        directory = OUT / make.__name__
        directory.mkdir(parents=True, exist_ok=True)
        tokenizer, config = make()
        state = json.loads(tokenizer.to_str())
        if make is odd_byte_level:
            state["model"]["merges"] = [" ".join(merge) for merge in state["model"]["merges"]]
        (directory / "tokenizer.json").write_text(json.dumps(state, ensure_ascii=False, separators=(",", ":")) + "\n")
        if config:
            (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
        saved = Tokenizer.from_file(str(directory / "tokenizer.json"))
        if "tokenizer_class" in (config or {}):  # a class of its own may change what the file says
            saved = AutoTokenizer.from_pretrained(directory).backend_tokenizer
        result["tokenizers"][make.__name__] = golden(directory, saved, texts)
    for name, legacy in (("sentencepiece", False), ("sentencepiece_legacy", True)):
        directory = OUT / name
        directory.mkdir(exist_ok=True)
        result["tokenizers"][name] = golden(directory, sentencepiece_model(directory, legacy), texts)
    write("golden.json", result)
    write("chat_templates.json", chat_templates())
    write("conversations.json", conversations())
    if SHARED.exists():
        write("llama2.json", real_llama2())


if __name__ == "__main__":
    main()
