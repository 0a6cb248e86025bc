"""Golden files of greedy generation, by transformers' own generate().

    python make_greedy.py [case ...]        run by hand, after make_golden.py; writes test/data/golden/<case>/greedy.json

The model and adapter are those that make_golden.py wrote, read back from their files. Two prompts a case: a short one,
and one longer than every sliding window and than longrope's original_max_position_embeddings; the short one's answer
grows past both. No end token stops an answer.

greedy.json   answers: prompt, new_ids and margin of each; margin: the least distance, over all steps, between the largest
              logit and the next

A prompt is drawn again until that distance is well above the noise of fp32 and the answer is no mere repetition, and
the answer with a key/value cache must be the one without.
"""

import json
import pathlib
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

import tiny_models

ROOT = pathlib.Path(__file__).resolve().parents[2] / "test" / "data" / "golden"
PROMPT_LENGTHS, NEW_TOKENS = (7, 21), 16
LEAST_MARGIN = 1e-2  # logits reach some 10; fp32 noise behind a few layers is 1e-5 of that
LEAST_DISTINCT = 8   # of the new tokens


def greedy(model, prompt, use_cache):
    output = model.generate(input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=NEW_TOKENS,
                            do_sample=False, use_cache=use_cache, output_logits=True, return_dict_in_generate=True)
    best = torch.cat(output.logits).topk(2).values
    return output.sequences[0, prompt.shape[1]:].tolist(), (best[:, 0] - best[:, 1]).min().item()


def answer(model, length, vocab_size, generator):
    for _ in range(1000):
        prompt = torch.randint(3, vocab_size, (1, length), generator=generator)
        new_ids, margin = greedy(model, prompt, use_cache=True)
        if margin >= LEAST_MARGIN and len(set(new_ids)) >= LEAST_DISTINCT:
            without_cache, _ = greedy(model, prompt, use_cache=False)
            assert new_ids == without_cache and len(new_ids) == NEW_TOKENS
            return dict(prompt=prompt[0].tolist(), new_ids=new_ids, margin=margin)
    raise SystemExit("no prompt has an answer that is clear of ties")


def make(name, case):
    directory = ROOT / name
    base = AutoModelForCausalLM.from_pretrained(directory / "model", dtype=torch.float32, attn_implementation="eager")
    model = PeftModel.from_pretrained(base, directory / "adapter").eval()
    model.generation_config.eos_token_id = None
    generator = torch.Generator().manual_seed(400 + case["seed"])
    with torch.no_grad():
        answers = [answer(model, length, case["config"].vocab_size, generator) for length in PROMPT_LENGTHS]
    (directory / "greedy.json").write_text(json.dumps(dict(case=name, answers=answers)) + "\n")
    for each in answers:
        print(f"{name:20} {len(each['prompt']):2} tokens -> {each['new_ids']}  margin {each['margin']:.3f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for chosen in sys.argv[1:] or tiny_models.CASES:
        make(chosen, tiny_models.CASES[chosen])
