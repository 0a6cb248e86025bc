#!/usr/bin/env python3
"""Writes test/data/chat/masks.jsonl: what transformers makes of conversations under templates that mark what the
assistant says ({% generation %}), which are the .jinja files beside it. A line has a template, a tokenizer, the messages
and the special tokens that the template is given, then the text, its ids and which of them the marks hold.

Needs: pip install transformers (5.24), tokenizers (0.23)."""
import json
import pathlib

from transformers import PreTrainedTokenizerFast

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "test/data/chat"
TOKENIZER = "test/data/tokenizer/smollm2"
BOS, EOS = "<|im_start|>", "<|im_end|>"


def turns(*texts, system=None):
    """The messages of user and assistant in turn."""
    head = [{"role": "system", "content": system}] if system else []
    return head + [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


CONVERSATIONS = {
    "one turn": turns("How many pears are in two bags of nine?", "Eighteen pears."),
    "two turns": turns("Name a river.", "The Elbe.", "And one in Spain?", "The Ebro, for example."),
    "system": turns("Largest ocean?", "Pacific.", "Second largest?", "Atlantic.", system="You answer in one word."),
    "unicode and blanks": turns("  Größe? naïve café, 北京 🦊👩\u200d🚀\n\n\ttab \n", "\n  Ja: „süß“, e\u0301 😀  \n",
                                "\n\nnoch was?  ", " Nein.\n\n\nGar nichts. "),
}


def main():
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(ROOT / TOKENIZER / "tokenizer.json"), bos_token=BOS, eos_token=EOS)
    lines = []
    for path in sorted(OUT.glob("*.jinja"), key=lambda path: (len(path.stem) > len("own-generation"), path.stem)):
        template = path.read_text()
        for name, messages in CONVERSATIONS.items():
            text = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False)
            made = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=True, return_dict=True,
                                                 return_assistant_tokens_mask=True)
            lines.append({"template": path.name, "tokenizer": TOKENIZER, "conversation": name, "messages": messages,
                          "bos_token": BOS, "eos_token": EOS, "text": text, "input_ids": made["input_ids"],
                          "assistant_masks": made["assistant_masks"]})
    (OUT / "masks.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


if __name__ == "__main__":
    main()
