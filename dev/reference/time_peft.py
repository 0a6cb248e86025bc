"""Times LoRA training steps of transformers + PEFT on the data and settings of scripts/peft/lora/smollm2.sh.

    python3 dev/reference/time_peft.py MODEL_DIR TRAIN.jsonl [--dtype float32|bfloat16] [--threads 2] [--steps 12]

Sequences of a micro-batch are of similar length and padded to the longest, as `group_by_length` of Hugging Face's Trainer
has it. Prints one JSON line: the median seconds of a step after a warm-up, the tokens per second that are no padding,
and the peak resident memory. Needs torch, transformers and peft.
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
BATCH_SIZE, LEARNING_RATE = 8, 5e-4


def encode(tokenizer, line):
    """Ids and labels as train_quaff makes them: no loss on the question, an end-of-text token after the answer."""
    example = json.loads(line)
    question = tokenizer(example["question"], add_special_tokens=False)["input_ids"]
    answer = tokenizer(example["answer"], add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    return question + answer, [-100] * len(question) + answer


def micro_batches(examples):
    examples = sorted(examples, key=lambda example: len(example[0]))
    batches = [examples[i : i + BATCH_SIZE] for i in range(0, len(examples) - BATCH_SIZE + 1, BATCH_SIZE)]
    random.Random(0).shuffle(batches)
    for batch in batches:
        width = max(len(ids) for ids, _ in batch)
        padded = lambda rows, value: torch.tensor([row + [value] * (width - len(row)) for row in rows])
        yield {
            "input_ids": padded([ids for ids, _ in batch], 0),
            "labels": padded([labels for _, labels in batch], -100),
            "attention_mask": padded([[1] * len(ids) for ids, _ in batch], 0),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=12)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)

    tokenizer = AutoTokenizer.from_pretrained(options.model)
    with open(options.data, encoding="utf-8") as file:
        examples = [encode(tokenizer, line) for line in file]
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=getattr(torch, options.dtype))
    lora = LoraConfig(r=16, lora_alpha=16, lora_dropout=0.1, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, lora).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=0)

    seconds, speeds = [], []
    for step, batch in zip(range(WARMUP + options.steps), micro_batches(examples)):
        begin = time.perf_counter()
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 0.3)
        optimizer.step()
        elapsed = time.perf_counter() - begin
        if step >= WARMUP:
            seconds.append(elapsed)
            speeds.append(batch["attention_mask"].sum().item() / elapsed)
    print(
        json.dumps(
            {
                "dtype": options.dtype,
                "step_seconds": round(statistics.median(seconds), 3),
                "tokens_per_second": round(statistics.median(speeds), 1),
                "last_loss": round(loss.item(), 4),
                "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        )
    )


main()
