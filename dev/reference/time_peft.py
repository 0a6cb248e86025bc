"""Times LoRA training steps of transformers + PEFT on the data and settings of scripts/peft/lora/smollm2.sh.

    python3 dev/reference/time_peft.py MODEL_DIR TRAIN.jsonl [--dtype bfloat16] [--device cuda] [--batch-size 8] ...

Sequences of a micro-batch are of similar length and padded to the longest, as `group_by_length` of Hugging Face's Trainer
has it. Lines hold `question` and `answer`, or `input_ids`. Prints one JSON line: the median seconds of a step after a
warm-up, the tokens per second that are no padding, and the peak memory (resident, or of the GPU). Needs torch,
transformers (from 4.56 on) and peft.
"""

import argparse
import json
import random
import resource
import statistics
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

WARMUP = 2
LEARNING_RATE = 5e-4


def encode(tokenizer, line):
    """Ids and labels as train_quaff makes them: no loss on the question, an end-of-text token after the answer."""
    example = json.loads(line)
    if "input_ids" in example:
        return example["input_ids"], example["input_ids"]
    question = tokenizer(example["question"], add_special_tokens=False)["input_ids"]
    answer = tokenizer(example["answer"], add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    return question + answer, [-100] * len(question) + answer


def micro_batches(examples, batch_size, device):
    examples = sorted(examples, key=lambda example: len(example[0]))
    batches = [examples[i : i + batch_size] for i in range(0, len(examples) - batch_size + 1, batch_size)]
    random.Random(0).shuffle(batches)
    for batch in batches:
        width = max(len(ids) for ids, _ in batch)
        padded = lambda rows, value: torch.tensor([row + [value] * (width - len(row)) for row in rows], device=device)
        yield {
            "input_ids": padded([ids for ids, _ in batch], 0),
            "labels": padded([labels for _, labels in batch], -100),
            "attention_mask": padded([[1] * len(ids) for ids, _ in batch], 0),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=12)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)

    with open(options.data, encoding="utf-8") as file:
        lines = list(file)
    tokenizer = None if "input_ids" in json.loads(lines[0]) else AutoTokenizer.from_pretrained(options.model)
    examples = [encode(tokenizer, line) for line in lines]
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=getattr(torch, options.dtype))
    lora = LoraConfig(r=16, lora_alpha=16, lora_dropout=0.1, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, lora).train().to(options.device)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=0)

    seconds, speeds = [], []
    for step, batch in zip(
        range(WARMUP + options.steps), micro_batches(examples, options.batch_size, options.device)
    ):
        begin = time.perf_counter()
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 0.3)
        optimizer.step()
        if options.device == "cuda":
            torch.cuda.synchronize()
        elapsed = time.perf_counter() - begin
        if step >= WARMUP:
            seconds.append(elapsed)
            speeds.append(batch["attention_mask"].sum().item() / elapsed)
    on_gpu = options.device == "cuda"
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        json.dumps(
            {
                "dtype": options.dtype,
                "step_seconds": round(statistics.median(seconds), 3),
                "tokens_per_second": round(statistics.median(speeds), 1),
                "last_loss": round(loss.item(), 4),
                "peak_bytes": peak,
            }
        )
    )


main()
