"""Makes everything in dev/demo: tokenizer, pretrained model with planted outlier channels, training and evaluation set.

    python3 dev/demo/make_demo.py          # needs torch, transformers and tokenizers; half an hour on one core

The model is a LLaMA of 2.1M parameters, pretrained here on two kinds of lines: seven skills in a terse notation, with
stray words in between,

    add 12 5 = 17        rev(KDOF) = FODK        CABD turn small dictionary = ABCD        4 pounds 9 larger = 9

and sentences of the words that instructions are made of, in random order, which show no skill. The training set then
asks for the same skills in plain English ("What is the sum of 12 and 5?"), a form the model has never seen answered.
Operands reserved for the evaluation set (one sixteenth of all, by hash) occur neither in pretraining nor in training.

Large models have a few channels with activations up to some hundred times the others', which is what int8 activations
stumble over and what Quaff is about. A model this small grows none, so they are planted: a channel is multiplied by a
power of two where it is produced and the weights that read it are divided by the same. That leaves every BF16 value
exact and the model's function as it was.
"""

import argparse
import hashlib
import json
import math
import os
import random
import time

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

SEED = 1
EOS = "<|endoftext|>"
LETTERS = "ABCDEFGHIJKLMNOP"
STEPS, BATCH_LINES = 2600, 128
TRAIN_PER_SKILL, EVAL_PER_SKILL = 2400, 100

# --- Skills -----------------------------------------------------------------------------------------------------------
#
# Each: its names in the terse notation, how operands are drawn, what the answer is, how the instructions ask for it.


def number(rng):
    return rng.randrange(100)


def word(rng):
    """Three or four different letters."""
    return "".join(rng.sample(LETTERS, rng.randint(3, 4)))


SKILLS = {
    "add": (
        "add sum plus total together more",
        lambda rng: (number(rng), rng.randrange(10)),
        lambda a, b: a + b,
        [
            "What is the sum of {0} and {1}?",
            "How much is {0} plus {1}?",
            "Find the total of {0} and {1}.",
            "How many coins are {0} and {1} coins together?",
            "Anna has {0} coins and gets {1} more. How many does she have now?",
        ],
    ),
    "max": (
        "max larger greatest heavier",
        lambda rng: (number(rng), number(rng)),
        max,
        [
            "Which of {0} and {1} is larger?",
            "What is the greatest of the two numbers {0} and {1}?",
            "Two boxes weigh {0} and {1} pounds. How much does the heavier box weigh?",
        ],
    ),
    "min": (
        "min smaller least lighter",
        lambda rng: (number(rng), number(rng)),
        min,
        [
            "Which of {0} and {1} is smaller?",
            "What is the least of the two numbers {0} and {1}?",
            "Two boxes weigh {0} and {1} pounds. How much does the lighter box weigh?",
        ],
    ),
    "rev": (
        "rev backwards reverse around",
        lambda rng: (word(rng),),
        lambda s: s[::-1],
        [
            "Write {0} backwards.",
            "Spell the word {0} in reverse.",
            "What do you get when you turn {0} around?",
        ],
    ),
    "sort": (
        "sort alphabetical alphabet dictionary",
        lambda rng: (word(rng),),
        lambda s: "".join(sorted(s)),
        [
            "Put the letters of {0} in alphabetical order.",
            "Arrange {0} as in the alphabet.",
            "In which order do the letters of {0} stand in a dictionary?",
        ],
    ),
    "first": (
        "first begin start opening",
        lambda rng: (word(rng),),
        lambda s: s[0],
        [
            "What letter does {0} begin with?",
            "Which letter is at the start of {0}?",
            "Name the opening letter of the word {0}.",
        ],
    ),
    "last": (
        "last end finish closing",
        lambda rng: (word(rng),),
        lambda s: s[-1],
        [
            "What letter does {0} end with?",
            "With which letter does {0} finish?",
            "Name the closing letter of the word {0}.",
        ],
    ),
}

# Lines of pretraining per skill: what is hard to learn is shown more often.
FREQUENCY = {"add": 8, "max": 5, "min": 5, "rev": 2, "sort": 2, "first": 1, "last": 1}


def held_out(skill, operands):
    """True for the sixteenth of all operands that only the evaluation set may use."""
    return hashlib.sha256(repr((skill, operands)).encode()).digest()[0] < 16


def draw(rng, skill, reserved):
    """Random operands of a skill, from the evaluation set's share or from the rest."""
    while True:
        operands = SKILLS[skill][1](rng)
        if held_out(skill, operands) == reserved:
            return operands


# --- Pretraining lines ------------------------------------------------------------------------------------------------

NOUNS = "coins birds boxes letters words numbers trees pounds order box tree letter word number".split()
PEOPLE = "Anna Ben She He The Which What There They You".split()
FILLER_WORDS = sorted(
    {w.strip(".,?").lower() for *_, templates in SKILLS.values() for t in templates for w in t.split() if "{" not in w}
    - {name for names, *_ in SKILLS.values() for name in names.split()}
    | set("red blue old new small big house table garden river on under with near very".split())
)


def english_sentence(rng):
    """A sentence of the instructions' words in random order, with numbers and letters among them: it shows no skill."""
    words = [rng.choice(PEOPLE)]
    for _ in range(rng.randint(3, 8)):
        kind = rng.random()
        if kind < 0.12:
            words.append(str(number(rng)))
        elif kind < 0.24:
            words.append(word(rng))
        elif kind < 0.45:
            words.append(f"{rng.choice(('the', 'a', 'of the', 'in the', 'and the'))} {rng.choice(NOUNS)}")
        else:
            words.append(rng.choice(FILLER_WORDS))
    return " ".join(words) + rng.choice((".", "?", "."))


def terse_question(rng, skill, operands):
    """A name of the skill and the operands, in several orders and with stray words between them, so that no circuit can
    rely on fixed distances."""
    name, values = rng.choice(SKILLS[skill][0].split()), [str(value) for value in operands]

    def stray_words():
        return " ".join(rng.choices(FILLER_WORDS, k=rng.randint(1, 5)))

    def gap():
        kind = rng.random()
        return " " if kind < 0.5 else rng.choice((", ", ": ", " and ")) if kind < 0.75 else f" {stray_words()} "

    if rng.random() < 0.2:
        question = f"{name}({', '.join(values)})"
    else:
        values.insert(rng.randrange(len(values) + 1), name)
        question = values[0] + "".join(gap() + value for value in values[1:])
        if rng.random() < 0.2:
            question += f" {stray_words()}"
    if rng.random() < 0.15:
        question = f"{english_sentence(rng)} {question}"
    return question


def pretraining_line(rng):
    """(prompt, continuation): the model is trained to predict the continuation and the end of the line."""
    if rng.random() < 0.05:
        return "", " ".join(english_sentence(rng) for _ in range(rng.randint(1, 2)))
    skill = rng.choices(list(FREQUENCY), FREQUENCY.values())[0]
    operands = draw(rng, skill, reserved=False)
    return terse_question(rng, skill, operands) + " = ", str(SKILLS[skill][2](*operands))


# --- Tokenizer --------------------------------------------------------------------------------------------------------


def make_tokenizer():
    """Byte-level BPE in the manner of SmolLM2. It is trained on lower-case English only, so capitals, in which the words
    to be operated on are written, and digits are always tokens of their own."""
    rng = random.Random(SEED)
    templates = [t for *_, ts in SKILLS.values() for t in ts]
    corpus = [t.replace("{0}", "").replace("{1}", "").lower() for t in templates] * 40
    corpus += [english_sentence(rng).lower() for _ in range(2000)]
    corpus += [f"{name} {name}" for names, *_ in SKILLS.values() for name in names.split()] * 100
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=448, special_tokens=[EOS],
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


# --- Pretraining ------------------------------------------------------------------------------------------------------


def encode(tokenizer, prompt, continuation):
    """Token ids and labels: -100 on the prompt, whose random operands nobody can predict."""
    source = tokenizer.encode(prompt).ids
    target = tokenizer.encode(continuation).ids + [tokenizer.token_to_id(EOS)]
    return source + target, [-100] * len(source) + target


def batches(tokenizer, seed):
    """Batches of lines of similar length, padded at the end; a causal model with masked labels never sees the padding."""
    rng = random.Random(seed)
    while True:
        lines = [encode(tokenizer, *pretraining_line(rng)) for _ in range(32 * BATCH_LINES)]
        lines.sort(key=lambda line: len(line[0]))
        groups = [lines[i:i + BATCH_LINES] for i in range(0, len(lines), BATCH_LINES)]
        rng.shuffle(groups)
        yield from (collate(group) for group in groups)


def collate(lines):
    width = max(len(ids) for ids, _ in lines)
    ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in lines])
    labels = torch.tensor([labels + [-100] * (width - len(labels)) for _, labels in lines])
    return ids, labels


def labelled_logits(model, ids, labels):
    """Logits and targets of the labelled positions only."""
    hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    return model.lm_head(hidden[targets != -100]), targets[targets != -100]


@torch.no_grad()
def exact_match(model, tokenizer, examples):
    """The share of examples whose every answer token, the end included, is the most likely one: greedy decoding's exact match."""
    correct = 0
    for start in range(0, len(examples), 64):
        ids, labels = collate([encode(tokenizer, *example) for example in examples[start:start + 64]])
        predicted = model(input_ids=ids).logits[:, :-1].argmax(-1)
        targets = labels[:, 1:]
        correct += ((predicted == targets) | (targets == -100)).all(1).sum().item()
    return correct / len(examples)


@torch.no_grad()
def labelled_loss(model, tokenizer, examples):
    """The mean loss of the labelled tokens."""
    total = count = 0
    for example in examples:
        logits, targets = labelled_logits(model, *collate([encode(tokenizer, *example)]))
        total += F.cross_entropy(logits, targets, reduction="sum").item()
        count += targets.numel()
    return total / count


def skill_report(model, tokenizer, n=64):
    """Exact match of each skill in the terse notation, on the reserved operands."""
    rng = random.Random(SEED + 2)
    report = {}
    for skill, (_, _, answer, _) in SKILLS.items():
        drawn = [draw(rng, skill, reserved=True) for _ in range(n)]
        report[skill] = exact_match(model, tokenizer, [(terse_question(rng, skill, o) + " = ", str(answer(*o))) for o in drawn])
    return report


class Muon(torch.optim.Optimizer):
    """Momentum whose matrix is orthogonalised by Newton-Schulz iterations (Jordan et al. 2024): on a
    model this small it learns from far fewer lines than AdamW."""

    def __init__(self, params, lr, momentum=0.95):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                average = self.state[p].setdefault("average", torch.zeros_like(p))
                average.lerp_(p.grad, 1 - group["momentum"])
                x = p.grad.lerp(average, group["momentum"])  # Nesterov
                x = x.T if p.shape[0] > p.shape[1] else x
                x = x / (x.norm() + 1e-7)
                for _ in range(4):
                    gram = x @ x.T
                    x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
                x = x.T if p.shape[0] > p.shape[1] else x
                p.add_(x, alpha=-group["lr"] * max(1, p.shape[0] / p.shape[1]) ** 0.5)


def pretrain(tokenizer, steps):
    torch.manual_seed(SEED)
    end = tokenizer.token_to_id(EOS)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=256, intermediate_size=384, num_hidden_layers=4,
        num_attention_heads=8, num_key_value_heads=2, head_dim=32, max_position_embeddings=512, rms_norm_eps=1e-5,
        tie_word_embeddings=False, bos_token_id=end, eos_token_id=end))
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {steps} steps of {BATCH_LINES} lines")
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    others = [p for name, p in model.named_parameters() if p.ndim == 1 or "layers" not in name]
    optimizers = [Muon(matrices, lr=0.02), torch.optim.AdamW(others, lr=3e-3, betas=(0.9, 0.98), weight_decay=0.0, fused=True)]
    warmup = 50
    schedules = [torch.optim.lr_scheduler.LambdaLR(
        o, lambda step: min((step + 1) / warmup, (steps - step) / (steps - warmup))) for o in optimizers]
    began, tokens, running = time.time(), 0, None
    for step, (ids, labels) in enumerate(batches(tokenizer, SEED + 1)):
        if step == steps:
            break
        loss = F.cross_entropy(*labelled_logits(model, ids, labels))
        loss.backward()
        for stepper in optimizers + schedules:
            stepper.step()
        model.zero_grad()
        tokens += ids.numel()
        running = loss.item() if running is None else 0.98 * running + 0.02 * loss.item()
        if (step + 1) % 25 == 0:
            seconds = time.time() - began
            print(f"step {step + 1}  loss {running:.4f}  {tokens / seconds:.0f} tokens/s  {seconds:.0f} s", flush=True)
        if (step + 1) % 250 == 0:
            print("   ", skill_report(model, tokenizer), flush=True)
    return model


# --- Training and evaluation set --------------------------------------------------------------------------------------


def write_examples(path, seed, reserved, per_skill):
    """One JSON object a line. The space that ends `input` is the one in front of every answer of the pretraining."""
    rng = random.Random(seed)
    examples = []
    for skill, (_, _, answer, templates) in SKILLS.items():
        seen = set()
        while len(seen) < per_skill:
            operands, template = draw(rng, skill, reserved), rng.randrange(len(templates))
            if (operands, template) in seen:
                continue
            seen.add((operands, template))
            question = templates[template].format(*operands) + " "
            examples.append({"input": question, "output": str(answer(*operands)), "skill": skill})
    rng.shuffle(examples)
    with open(path, "w") as file:
        for example in examples:
            file.write(json.dumps(example) + "\n")
    return examples


# --- Outlier channels -------------------------------------------------------------------------------------------------


@torch.no_grad()
def input_maxima(model, tokenizer, examples):
    """Per layer and group of linear layers: the largest |X| of every input channel over the examples, and how often the
    channel is among a token's four largest."""
    maxima, counts = {}, {}

    def watch(name):
        def hook(_, inputs):
            magnitudes = inputs[0][0].abs()
            largest = magnitudes.amax(0)
            maxima[name] = torch.maximum(maxima.get(name, largest), largest)
            top = torch.zeros_like(magnitudes).scatter_(1, magnitudes.topk(4, 1).indices, 1)
            counts[name] = counts.get(name, 0) + top.sum(0)
        return hook

    handles = []
    for i, layer in enumerate(model.model.layers):
        for name, module in (("qkv_proj", layer.self_attn.q_proj), ("o_proj", layer.self_attn.o_proj),
                             ("gate_up_proj", layer.mlp.gate_proj), ("down_proj", layer.mlp.down_proj)):
            handles.append(module.register_forward_pre_hook(watch((i, name))))
    for example in examples:
        ids, _ = encode(tokenizer, example["input"], example["output"])
        model(input_ids=torch.tensor([ids]))
    for handle in handles:
        handle.remove()
    return maxima, counts


@torch.no_grad()
def plant_outliers(model, tokenizer, examples):
    """Multiplies a few channels by powers of two where they are produced and divides the weights that read them.

    Channels are those with the largest activations already, since outliers of large models are spikes on some tokens.
    One value channel feeds an output column in every query head of its group, so one planted row of v_proj makes four
    outliers. Returns the planted channels under the names train_quaff uses."""
    config, planted = model.config, {}
    group = config.num_attention_heads // config.num_key_value_heads
    maxima, counts = input_maxima(model, tokenizer, examples)
    for i, layer in enumerate(model.model.layers):
        attention, mlp = layer.self_attn, layer.mlp

        def largest(name, n):
            return maxima[i, name].topk(n).indices.tolist()

        for name, norm, readers in (
                ("self_attn.qkv_proj", layer.input_layernorm, (attention.q_proj, attention.k_proj, attention.v_proj)),
                ("mlp.gate_up_proj", layer.post_attention_layernorm, (mlp.gate_proj, mlp.up_proj))):
            channels = largest(name.split(".")[1], 2)
            for channel, factor in zip(channels, (64, 64)):
                norm.weight[channel] *= factor
                for reader in readers:
                    reader.weight[:, channel] /= factor
            planted[f"model.layers.{i}.{name}"] = sorted(channels)

        (column,) = largest("o_proj", 1)
        head, channel = divmod(column, config.head_dim)
        columns = [(head // group * group + j) * config.head_dim + channel for j in range(group)]
        attention.v_proj.weight[head // group * config.head_dim + channel] *= 64
        attention.o_proj.weight[:, columns] /= 64
        planted[f"model.layers.{i}.self_attn.o_proj"] = columns

        # What silu(gate) up makes is sparse, with spikes on single tokens in some channels: those are brought down to
        # the others' size, so that what stands out is what is planted, on many tokens.
        channels = counts[i, "down_proj"].topk(3).indices.tolist()
        usual = maxima[i, "down_proj"].median().item()
        for channel, spike in enumerate(maxima[i, "down_proj"].tolist()):
            factor = 32 if channel in channels else 0.5 ** max(0, math.ceil(math.log2(spike / (4 * usual))))
            mlp.up_proj.weight[channel] *= factor
            mlp.down_proj.weight[:, channel] /= factor
        planted[f"model.layers.{i}.mlp.down_proj"] = sorted(channels)
    return planted


# --- All of it --------------------------------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="dev/demo", help="where model/, train.jsonl and eval.jsonl go")
    parser.add_argument("--base", default="build/demo-base", help="the model before planting: read if there, else made")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    tokenizer = make_tokenizer()
    if os.path.exists(f"{arguments.base}/config.json"):
        model = LlamaForCausalLM.from_pretrained(arguments.base, dtype=torch.float32)
    else:
        model = pretrain(tokenizer, arguments.steps)
        model.save_pretrained(arguments.base)
    model = model.bfloat16().float().eval()  # planting is exact on what is saved
    print("terse notation, reserved operands:", skill_report(model, tokenizer))

    os.makedirs(f"{arguments.out}/model", exist_ok=True)
    train = write_examples(f"{arguments.out}/train.jsonl", SEED + 3, reserved=False, per_skill=TRAIN_PER_SKILL)
    evaluation = write_examples(f"{arguments.out}/eval.jsonl", SEED + 4, reserved=True, per_skill=EVAL_PER_SKILL)
    pairs = [(e["input"], e["output"]) for e in evaluation]
    before = exact_match(model, tokenizer, pairs), labelled_loss(model, tokenizer, pairs)
    planted = plant_outliers(model, tokenizer, train[:512])
    after = exact_match(model, tokenizer, pairs), labelled_loss(model, tokenizer, pairs)
    print(f"instructions, exact match and loss: {before} before planting, {after} after")

    model.bfloat16().save_pretrained(f"{arguments.out}/model")
    tokenizer.save(f"{arguments.out}/model/tokenizer.json")
    with open(f"{arguments.out}/model/tokenizer_config.json", "w") as file:
        json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": EOS, "eos_token": EOS, "pad_token": EOS,
                   "clean_up_tokenization_spaces": False, "model_max_length": 512}, file, indent=2)
        file.write("\n")
    with open(f"{arguments.out}/planted.json", "w") as file:
        file.write("{\n" + ",\n".join(f'  "{name}": {channels}' for name, channels in planted.items()) + "\n}\n")


if __name__ == "__main__":
    main()
