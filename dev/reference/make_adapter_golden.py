"""Golden files of adapters whose layers differ from each other, by PEFT.

    python make_adapter_golden.py        run by hand; writes test/data/golden/adapters/

choices.json   what PEFT makes of many settings, tried on the models of tiny_models.py: each module that gets an adapter,
               with its rank and scaling, or that PEFT refuses
<name>/        an adapter as PEFT stores it, and golden.json: the model it is for, the same choice, and the losses and
               gradient norms of a few AdamW steps on that model's batches (make_golden.py, whose optimiser this is)

B is not zero, so that every adapter counts from the first step on.
"""

import json
import shutil
import warnings

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

import make_golden
import tiny_models

ROOT = make_golden.ROOT / "adapters"
STEPS = 4

# Trained on. The first pattern that matches counts, and PEFT sorts them when it writes them.
TRAINED = {
    "ranks": ("llama_gqa", dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj", "up_proj"],
                                rank_pattern={r"1\.mlp\.down_proj": 6, "down_proj": 1, "q_proj": 3},
                                alpha_pattern={"up_proj": 2, r"^model\.layers\.0\..*v_proj": 12})),
    "layers": ("llama_head_dim", dict(r=2, lora_alpha=6, use_rslora=True, target_modules=["k_proj", "o_proj", "gate_proj"],
                                      layers_to_transform=[1], layers_pattern="layers", rank_pattern={"k_proj": 5})),
    "expression": ("llama_head_dim", dict(r=3, lora_alpha=4, target_modules=r".*layers\.[02]\..*(q|down)_proj",
                                          exclude_modules=["layers.2.mlp.down_proj"])),
    "fused": ("phi3", dict(r=4, lora_alpha=4, target_modules="all-linear", exclude_modules=r".*\.1\.mlp\..*",
                           alpha_pattern={"qkv_proj": 16})),
}

LIST = ["q_proj", "v_proj"]
CHOICES = [
    ("llama_head_dim", fields) for fields in (
        dict(target_modules=["proj"]), dict(target_modules=["j_proj"]), dict(target_modules=["self_attn.q_proj", "up_proj"]),
        dict(target_modules=["model.layers.2.mlp.up_proj", "layers.0.self_attn.k_proj"]),
        dict(target_modules="all-linear"), dict(target_modules="ALL-LINEAR"), dict(target_modules=None), dict(target_modules=[]),
        dict(target_modules="q_proj"), dict(target_modules=".*q_proj"), dict(target_modules=r".*(q|k)_proj"),
        dict(target_modules=r".*\.(self_attn|mlp)\.(q|up)_pro"), dict(target_modules=".*"), dict(target_modules=r".*\.[13]\..*_proj"),
        dict(target_modules=r"(?:.*?(?:attn|attention).*?(?:q_proj|o_proj).*?)|(?:\bmodel\.layers\.[\d]{1,}\.(?:mlp)\.(?:up_proj))"),
        dict(target_modules=r"model\.layers\.(?!0)\d+\.mlp\.(up|down)_proj"), dict(target_modules=r".*\.mlp"),
        dict(target_modules=["mlp"]), dict(target_modules=["lm_head", "q_proj"]), dict(target_modules=["nothing", "q_proj"]),
        dict(target_modules=["nothing"]),
        dict(target_modules=LIST, layers_to_transform=0), dict(target_modules=LIST, layers_to_transform=[0, 2]),
        dict(target_modules=LIST, layers_to_transform=[]), dict(target_modules=LIST, layers_to_transform=[7]),
        dict(target_modules=LIST, layers_to_transform=[1], layers_pattern="layers"),
        dict(target_modules=LIST, layers_to_transform=[1], layers_pattern=["h", "layers"]),
        dict(target_modules=LIST, layers_to_transform=[1], layers_pattern="h"),
        dict(target_modules=LIST, layers_to_transform=[1], layers_pattern="lay.*"),
        dict(target_modules=LIST, layers_to_transform=[1], layers_pattern="model|layers"),
        dict(target_modules=LIST, layers_pattern="layers"),
        dict(target_modules=["model.layers.0.self_attn.q_proj", "v_proj"], layers_to_transform=[2]),
        dict(target_modules=".*q_proj", layers_to_transform=[1]),
        dict(target_modules=LIST, exclude_modules=["v_proj"]), dict(target_modules=LIST, exclude_modules="v_proj"),
        dict(target_modules=LIST, exclude_modules=r".*layers\.0.*"), dict(target_modules=LIST, exclude_modules=LIST),
        dict(target_modules="all-linear", exclude_modules=["layers.1.self_attn.q_proj", "mlp.up_proj"]),
        dict(target_modules=["model.layers.0.self_attn.q_proj"], exclude_modules=["layers.0.self_attn.q_proj"]),
        dict(target_modules=LIST, exclude_modules=["model.layers.1.self_attn.v_proj"], layers_to_transform=[1, 2]),
        dict(target_modules=LIST, rank_pattern={"q": 7}), dict(target_modules=LIST, rank_pattern={"q_proj": 7}),
        dict(target_modules=LIST, rank_pattern={".*_proj": 7, "q_proj": 3}),
        dict(target_modules=LIST, rank_pattern={"q_proj": 3, ".*_proj": 7}),
        dict(target_modules=LIST, rank_pattern={"z_proj|q_proj": 3, "a.b": 2}),
        dict(target_modules=LIST, rank_pattern={"layers.1.self_attn.q_proj": 6, "self_attn.q_proj": 2}),
        dict(target_modules=LIST, rank_pattern={"^model.layers.2.self_attn.v_proj": 9}),
        dict(target_modules=LIST, rank_pattern={"^layers.2.self_attn.v_proj": 9}),
        dict(target_modules=LIST, rank_pattern={r"q_proj|layers\.1\..*": 5}),
        dict(target_modules=LIST, alpha_pattern={"q_proj": 32}), dict(target_modules=LIST, alpha_pattern={"q_proj": 0.5}),
        dict(target_modules=LIST, alpha_pattern={"v_proj": 1}, rank_pattern={"v_proj": 8, "q_proj": 2}, use_rslora=True),
        dict(target_modules=LIST, use_rslora=True),
        dict(target_modules=LIST, rank_pattern={"q_proj": 0}),
    )
] + [("phi3", fields) for fields in (
    dict(target_modules=None), dict(target_modules=["qkv_proj"], rank_pattern={"qkv_proj": 12}), dict(target_modules="all-linear"),
    dict(target_modules=LIST), dict(target_modules=r".*\.0\..*"), dict(target_modules=r".*\.0\..*_proj"),
)]


def chosen(peft):
    """Each adapted module, by its name in the model, with its rank and scaling."""
    modules = {}
    for name, module in peft.base_model.model.named_modules():
        if hasattr(module, "lora_A") and "default" in module.lora_A:
            modules[name] = [module.r["default"], module.scaling["default"]]
    return modules


def make_choice(case, fields):
    model = AutoModelForCausalLM.from_config(tiny_models.CASES[case]["config"])
    try:
        peft = get_peft_model(model, LoraConfig(**(dict(task_type="CAUSAL_LM", r=4, lora_alpha=8) | fields)))
    except (ValueError, KeyError, AttributeError) as error:
        return dict(model=case, config=fields, error=type(error).__name__)
    return dict(model=case, config=fields, modules=chosen(peft))


def make_trained(name, case, fields):
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    base = lambda: AutoModelForCausalLM.from_pretrained(make_golden.ROOT / case / "model", dtype=torch.float32,
                                                        attn_implementation="eager").eval()
    peft = get_peft_model(base(), LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, bias="none", **fields))
    generator = torch.Generator().manual_seed(300)
    with torch.no_grad():
        for key, parameter in sorted(make_golden.adapter(peft).items()):
            std = 0.5 * parameter.shape[1] ** -0.5 if "lora_A" in key else 0.2
            parameter.copy_(tiny_models.normal(generator, parameter.shape, std))
    peft.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text()) | {"base_model_name_or_path": f"test/data/golden/{case}/model"}
    for key in ("target_modules", "exclude_modules"):
        if isinstance(config[key], list):
            config[key] = sorted(config[key])  # a set in PEFT, in no fixed order
    path.write_text(json.dumps(config, indent=2) + "\n")

    peft = PeftModel.from_pretrained(base(), folder, is_trainable=True).eval()  # as it was stored
    golden = json.loads((make_golden.ROOT / case / "golden.json").read_text())
    parameters = make_golden.adapter(peft)
    adamw = golden["adamw"]
    optimizer = torch.optim.AdamW(parameters.values(), lr=adamw["learning_rate"], weight_decay=adamw["weight_decay"],
                                  **make_golden.ADAMW)
    losses, norms = [], []
    for step in range(STEPS):
        batch = golden["batches"][step % len(golden["batches"])]
        optimizer.zero_grad()
        loss = make_golden.summed_loss(peft, batch) / batch["labelled"]
        loss.backward()
        losses.append(loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(parameters.values(), make_golden.MAX_GRAD_NORM).item())
        optimizer.step()
    result = dict(model=case, modules=chosen(peft), losses=losses, grad_norms=norms)
    (folder / "golden.json").write_text(json.dumps(result) + "\n")
    print(f"{name:12} {len(result['modules'])} modules, loss {losses[0]:.4f} -> {losses[-1]:.4f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    ROOT.mkdir(parents=True, exist_ok=True)
    for trained, (model_case, settings) in TRAINED.items():
        make_trained(trained, model_case, settings)
    choices = [make_choice(case, fields) for case, fields in CHOICES]
    (ROOT / "choices.json").write_text("[\n" + ",\n".join(map(json.dumps, choices)) + "\n]\n")
    print(f"{len(choices)} choices, {sum('error' in choice for choice in choices)} of them refused")
