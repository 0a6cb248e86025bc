"""Golden files of full-precision LoRA fine-tuning, by transformers and PEFT.

    python make_golden.py [case ...]        run by hand; writes test/data/golden/<case>/

For each tiny model of tiny_models.py:

  model/               the model as Hugging Face stores it
  adapter/             the adapter that training starts from, as PEFT stores it; B is not zero, so that A has gradients
  golden.json          batches (input_ids, labels, cu_seqlens, labelled tokens), options, losses and gradient norms of
                       ten steps, the rows of batch 0 whose logits are kept
  golden.safetensors   logits           of those rows, before the first step
                       grad.<name>      every adapter gradient of the first step, under PEFT's names
                       final.<name>     the adapter after ten steps

Sequences run one at a time through the model, which is what a packed batch has to equal. The loss of a step is the sum
over its labelled tokens divided by their number. Everything is computed in fp32, on one thread, without dropout.
"""

import json
import math
import pathlib
import shutil
import sys

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

import tiny_models

ROOT = pathlib.Path(__file__).resolve().parents[2] / "test" / "data" / "golden"
STEPS, MAX_GRAD_NORM = 10, 0.3
ADAMW = dict(betas=(0.9, 0.999), eps=1e-8)


def legacy_config(path, type_key):
    """Rewrites config.json the way transformers 4 wrote it: rope_theta and rope_scaling, torch_dtype, no list of layers."""
    config = json.loads(path.read_text())
    for of_layers in ("layer_types", "no_rope_layers"):
        config.pop(of_layers, None)
    rope = config.pop("rope_parameters")
    if "full_attention" in rope:
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    config["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    if "partial_rotary_factor" in rope:
        config["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    if kind == "longrope":
        config["original_max_position_embeddings"] = rope.pop("original_max_position_embeddings")
        rope = {key: rope[key] for key in ("short_factor", "long_factor")}
    config["rope_scaling"] = None if kind == "default" else {type_key: kind} | rope
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.46.0"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def summed_loss(model, batch):
    """Sum of the losses of the labelled tokens, every sequence on its own."""
    total = 0.0
    for ids, labels in tiny_models.sequences(batch):
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
        if logits.shape[0]:
            total = total + torch.nn.functional.cross_entropy(logits, labels[0, 1:], ignore_index=-100, reduction="sum")
    return total


def batch_logits(model, batch):
    with torch.no_grad():
        return torch.cat([model(input_ids=ids, use_cache=False).logits[0].float() for ids, _ in tiny_models.sequences(batch)])


def base_model(case):
    model = AutoModelForCausalLM.from_config(case["config"], attn_implementation="eager").float()
    tiny_models.fill(model, case)
    return model.eval()


def write_model(case, directory):
    """Writes the model and checks that what was written reads back as the same function."""
    model = base_model(case)
    shards = {} if case["shards"] is None else {"max_shard_size": f"{case['shards']}kB"}
    model.to(case["dtype"]).save_pretrained(directory, **shards)
    (directory / "generation_config.json").unlink(missing_ok=True)
    if case["legacy"]:
        legacy_config(directory / "config.json", case["legacy"])
    model = base_model(case)
    again = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
    ids = torch.arange(3, 3 + 24)[None]
    with torch.no_grad():
        torch.testing.assert_close(again(input_ids=ids).logits, model(input_ids=ids).logits, rtol=0, atol=0)
    return again


def peft_model(model, case):
    lora = case["lora"]
    peft = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=lora["r"], lora_alpha=lora["alpha"], lora_dropout=0.0,
                                            target_modules=lora["modules"], bias="none"))
    generator = torch.Generator().manual_seed(100 + case["seed"])
    with torch.no_grad():
        for name, parameter in sorted(adapter(peft).items()):
            std = 0.5 * parameter.shape[1] ** -0.5 if "lora_A" in name else 0.2
            parameter.copy_(tiny_models.normal(generator, parameter.shape, std))
    return peft.eval()


def adapter(peft):
    """The trained parameters under the names that PEFT stores them by."""
    return {name.replace(".default.", "."): p for name, p in peft.named_parameters() if p.requires_grad}


def write_adapter(peft, case_name, directory):
    peft.save_pretrained(directory)
    (directory / "README.md").unlink(missing_ok=True)
    path = directory / "adapter_config.json"
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = f"test/data/golden/{case_name}/model"
    config["target_modules"] = sorted(config["target_modules"])  # a set in PEFT, in no fixed order
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def learning_rate(case):
    """Long steps where that is stable; where inputs are amplified, so are the outputs that a step moves."""
    return 1e-3 if case["amplify"] else 1e-2


def make(name, case):
    directory = ROOT / name
    for part in ("model", "adapter"):
        shutil.rmtree(directory / part, ignore_errors=True)
    directory.mkdir(parents=True, exist_ok=True)
    peft = peft_model(write_model(case, directory / "model"), case)
    write_adapter(peft, name, directory / "adapter")

    generator = torch.Generator().manual_seed(200 + case["seed"])
    batches = [tiny_models.make_batch(generator, lengths, case["config"].vocab_size) for lengths in case["lengths"]]
    weight_decay = 0.1 if case["seed"] % 2 else 0.0
    parameters = adapter(peft)
    optimizer = torch.optim.AdamW(parameters.values(), lr=learning_rate(case), weight_decay=weight_decay, **ADAMW)

    logits = batch_logits(peft, batches[0])
    n_rows = min(6, logits.shape[0])
    rows = torch.linspace(0, logits.shape[0] - 1, n_rows).round().long()
    tensors = {"logits": logits[rows]}
    losses, norms = [], []
    for step in range(STEPS):
        batch = batches[step % len(batches)]
        optimizer.zero_grad()
        loss = summed_loss(peft, batch) / tiny_models.n_labelled(batch)
        loss.backward()
        if step == 0:
            tensors |= {f"grad.{key}": p.grad.clone() for key, p in parameters.items()}
        losses.append(loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(parameters.values(), MAX_GRAD_NORM).item())
        optimizer.step()
    tensors |= {f"final.{key}": p.detach().clone() for key, p in parameters.items()}

    save_file(tensors, directory / "golden.safetensors")
    golden = dict(
        case=name, batches=[b | {"labelled": tiny_models.n_labelled(b)} for b in batches], steps=STEPS,
        lora=dict(r=case["lora"]["r"], alpha=case["lora"]["alpha"], target_modules=case["lora"]["modules"]),
        adamw=dict(learning_rate=learning_rate(case), beta1=ADAMW["betas"][0], beta2=ADAMW["betas"][1], eps=ADAMW["eps"],
                   weight_decay=weight_decay),
        max_grad_norm=MAX_GRAD_NORM, losses=losses, grad_norms=norms, logits_rows=rows.tolist())
    (directory / "golden.json").write_text(json.dumps(golden) + "\n")
    assert all(map(math.isfinite, losses))
    print(f"{name:20} loss {losses[0]:.4f} -> {losses[-1]:.4f}, gradient norm {norms[0]:.3f} -> {norms[-1]:.3f}, "
          f"max |logit| {logits.abs().max():.1f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for chosen in sys.argv[1:] or tiny_models.CASES:
        make(chosen, tiny_models.CASES[chosen])
