"""The tiny models and batches that both reference scripts share.

Every architecture the program reads is here once, small enough to lie in the repository: hidden sizes of 40 to 64, odd
vocabularies, sizes that are not multiples of 16. Weights are drawn wide (unlike a freshly initialised model, whose
logits are all near zero), so that a wrong rotation, mask or scale moves the logits by far more than a tolerance.

A case is a dict:
  config        the transformers configuration, in the words of transformers 5
  legacy        None, or the key ("rope_type" or "type") under which `config.json` is rewritten as transformers 4 wrote it:
                then windows and RoPE of each layer follow from a few numbers instead of lists
  dtype         of the stored weights; everything is computed in fp32 from the values as stored
  shards        the largest shard in kB, or None for a single file
  lora          r, alpha and the modules that get an adapter
  lengths       the sequence lengths of every packed batch
  amplify       channels made into outliers (see `amplify`), for the cases that the quantised reference uses
"""

import torch
from transformers import (Gemma2Config, Gemma3TextConfig, GraniteConfig, LlamaConfig, MistralConfig, Olmo2Config,
                          Phi3Config, Qwen2Config, Qwen3Config, SmolLM3Config)

LLAMA_LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PHI3_LINEARS = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]


def default_rope(theta=10000.0):
    return {"rope_type": "default", "rope_theta": theta}


def common(**overrides):
    base = dict(hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                vocab_size=97, max_position_embeddings=64, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    return base | overrides


CASES = {
    "llama_gqa": dict(
        seed=1, legacy=None, dtype=torch.float32, shards=None,
        config=LlamaConfig(**common(rope_parameters=default_rope(), tie_word_embeddings=False)),
        lora=dict(r=4, alpha=8, modules=LLAMA_LINEARS), lengths=[[13, 5, 9], [7, 17], [3, 11, 2, 8]], amplify=True),
    "llama_tied_llama3": dict(
        seed=2, legacy="rope_type", dtype=torch.float32, shards=None,
        config=LlamaConfig(**common(
            intermediate_size=72, vocab_size=101, tie_word_embeddings=True, attention_bias=True, mlp_bias=True,
            rope_parameters=dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0,
                                 high_freq_factor=4.0, original_max_position_embeddings=32))),
        lora=dict(r=3, alpha=6, modules=LLAMA_LINEARS), lengths=[[19, 6], [9, 10, 4]], amplify=True),
    "llama_mqa_linear": dict(
        seed=3, legacy="type", dtype=torch.float16, shards=24,
        config=LlamaConfig(**common(
            hidden_size=40, intermediate_size=72, num_key_value_heads=1, vocab_size=103, tie_word_embeddings=False,
            rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=2.5))),
        lora=dict(r=2, alpha=5, modules=["q_proj", "v_proj", "down_proj"]), lengths=[[15, 1, 9], [21]], amplify=False),
    "llama_head_dim": dict(
        seed=4, legacy=None, dtype=torch.float32, shards=None,
        config=LlamaConfig(**common(
            hidden_size=40, intermediate_size=56, num_hidden_layers=3, head_dim=16, rms_norm_eps=1e-6, vocab_size=97,
            tie_word_embeddings=False, rope_parameters=default_rope(1000.0))),
        lora=dict(r=2, alpha=2, modules=LLAMA_LINEARS), lengths=[[12, 8], [5, 6, 7]], amplify=False),
    "mistral_window": dict(
        seed=5, legacy=None, dtype=torch.bfloat16, shards=None,
        config=MistralConfig(**common(sliding_window=6, vocab_size=107, tie_word_embeddings=False,
                                      rope_parameters=default_rope())),
        lora=dict(r=3, alpha=3, modules=LLAMA_LINEARS), lengths=[[23, 6, 7], [14, 2]], amplify=False),
    "phi3": dict(
        seed=6, legacy=None, dtype=torch.float32, shards=None,
        config=Phi3Config(**common(sliding_window=9, vocab_size=99, tie_word_embeddings=False,
                                   rope_parameters=default_rope() | {"partial_rotary_factor": 1.0})),
        lora=dict(r=4, alpha=4, modules=PHI3_LINEARS), lengths=[[18, 7], [4, 12, 9]], amplify=True),
    # One sequence no longer than original_max_position_embeddings, one longer: they rotate by different tables.
    "phi3_longrope": dict(
        seed=7, legacy="type", dtype=torch.float32, shards=None,
        config=Phi3Config(**common(
            hidden_size=64, intermediate_size=56, vocab_size=97, tie_word_embeddings=False,
            original_max_position_embeddings=16,
            rope_parameters=dict(rope_type="longrope", rope_theta=10000.0, partial_rotary_factor=0.75,
                                 original_max_position_embeddings=16,
                                 short_factor=[1.0, 1.05, 1.1, 1.2, 1.35, 1.5],
                                 long_factor=[1.1, 1.4, 2.0, 2.9, 3.6, 4.2]))),
        lora=dict(r=3, alpha=6, modules=PHI3_LINEARS), lengths=[[11, 25], [16, 17]], amplify=False),
    # As Phi-4-mini: a tied head, few key/value heads, three quarters of each head turned, a window beside longrope.
    "phi4_mini": dict(
        seed=8, legacy="type", dtype=torch.bfloat16, shards=None,
        config=Phi3Config(**common(
            hidden_size=48, intermediate_size=56, num_attention_heads=6, vocab_size=113, tie_word_embeddings=True,
            original_max_position_embeddings=16, sliding_window=20,
            rope_parameters=dict(rope_type="longrope", rope_theta=10000.0, partial_rotary_factor=0.75,
                                 original_max_position_embeddings=16, short_factor=[1.0, 1.1, 1.3],
                                 long_factor=[1.2, 2.1, 3.9]))),
        lora=dict(r=2, alpha=4, modules=PHI3_LINEARS), lengths=[[26, 9], [16, 17]], amplify=False),
    # The upper layer slides, the lower one does not.
    "qwen2": dict(
        seed=85, legacy="rope_type", dtype=torch.float32, shards=None,
        config=Qwen2Config(**common(
            vocab_size=109, tie_word_embeddings=True, use_sliding_window=True, sliding_window=5, max_window_layers=1,
            rope_parameters=default_rope(1000000.0))),
        lora=dict(r=3, alpha=6, modules=LLAMA_LINEARS), lengths=[[17, 8], [6, 11, 5]], amplify=True),
    "qwen2_yarn": dict(
        seed=10, legacy="type", dtype=torch.bfloat16, shards=None,
        config=Qwen2Config(**common(
            hidden_size=56, intermediate_size=72, num_attention_heads=2, num_key_value_heads=1, vocab_size=97,
            max_position_embeddings=128, tie_word_embeddings=False, use_sliding_window=False, max_window_layers=1,
            rope_parameters=dict(rope_type="yarn", rope_theta=1000.0, factor=4.0,
                                 original_max_position_embeddings=32))),
        lora=dict(r=2, alpha=4, modules=["q_proj", "k_proj", "o_proj", "up_proj"]), lengths=[[38, 7], [13, 20]],
        amplify=False),
    # Heads of 16 channels where hidden_size / heads is 12; layer_types where the upper layer slides in qwen2.
    "qwen3": dict(
        seed=11, legacy=None, dtype=torch.float32, shards=None,
        config=Qwen3Config(**common(
            vocab_size=103, head_dim=16, tie_word_embeddings=False, use_sliding_window=True, sliding_window=7,
            layer_types=["sliding_attention", "full_attention"], rope_parameters=default_rope(1000000.0))),
        lora=dict(r=4, alpha=8, modules=LLAMA_LINEARS), lengths=[[15, 10], [4, 19]], amplify=True),
    # The middle one of three layers has no RoPE and slides.
    "smollm3": dict(
        seed=40, legacy="rope_type", dtype=torch.float32, shards=None,
        config=SmolLM3Config(**common(
            hidden_size=40, intermediate_size=56, num_hidden_layers=3, vocab_size=107, tie_word_embeddings=True,
            no_rope_layer_interval=2, use_sliding_window=True, sliding_window=6,
            rope_parameters=default_rope(2000000.0))),
        lora=dict(r=3, alpha=6, modules=LLAMA_LINEARS), lengths=[[14, 9], [5, 12, 4]], amplify=True),
    # Every multiplier is other than 1, and the logits' no power of two.
    "granite": dict(
        seed=13, legacy="rope_type", dtype=torch.float32, shards=None,
        config=GraniteConfig(**common(
            vocab_size=103, tie_word_embeddings=True, attention_bias=True, embedding_multiplier=3.0,
            attention_multiplier=0.4, residual_multiplier=0.3, logits_scaling=0.6, rope_parameters=default_rope())),
        lora=dict(r=3, alpha=6, modules=LLAMA_LINEARS), lengths=[[16, 7], [9, 5, 8]], amplify=True),
    "olmo2": dict(
        seed=14, legacy=None, dtype=torch.float32, shards=None,
        config=Olmo2Config(**common(
            hidden_size=40, intermediate_size=72, vocab_size=97, tie_word_embeddings=False,
            rope_parameters=default_rope(500000.0))),
        lora=dict(r=4, alpha=8, modules=LLAMA_LINEARS), lengths=[[12, 9], [6, 15]], amplify=True),
    # Heads of 16 channels where hidden_size / heads is 12; the lower layer slides.
    "gemma2": dict(
        seed=26, legacy="type", dtype=torch.float32, shards=None,
        config=Gemma2Config(**common(
            vocab_size=109, head_dim=16, sliding_window=6, query_pre_attn_scalar=20, attn_logit_softcapping=4.0,
            final_logit_softcapping=6.0, tie_word_embeddings=True, rope_parameters=default_rope())),
        lora=dict(r=3, alpha=6, modules=LLAMA_LINEARS), lengths=[[17, 6], [8, 11]], amplify=True),
    # Layers 0 and 2 slide and turn by another theta; the full one's rotation is stretched.
    "gemma3": dict(
        seed=16, legacy="rope_type", dtype=torch.float32, shards=None,
        config=Gemma3TextConfig(**common(
            hidden_size=40, intermediate_size=56, num_hidden_layers=3, vocab_size=101, head_dim=16, sliding_window=5,
            sliding_window_pattern=2, query_pre_attn_scalar=24, final_logit_softcapping=9.0, tie_word_embeddings=True,
            rope_parameters=dict(full_attention=dict(rope_type="linear", rope_theta=1000000.0, factor=8.0),
                                 sliding_attention=default_rope()))),
        lora=dict(r=3, alpha=6, modules=LLAMA_LINEARS), lengths=[[15, 8], [4, 12, 6]], amplify=True),
}


def normal(generator, shape, std):
    return torch.randn(shape, generator=generator) * std


def adds_one(model):
    """Gemma stores the weights of norms less 1."""
    return model.config.model_type.startswith("gemma")


def fill(model, case):
    """Overwrites every weight from the case's seed, rounded to the dtype it is stored in."""
    generator = torch.Generator().manual_seed(case["seed"])
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if name == "model.norm.weight" and adds_one(model):
                # Of both signs: a tied head would see little else than the large embedding of the last token.
                value = normal(generator, parameter.shape, 2.0)
            elif name.endswith("norm.weight"):
                value = (0 if adds_one(model) else 1) + normal(generator, parameter.shape, 0.2)
            elif name.endswith(".bias"):
                value = normal(generator, parameter.shape, 0.3)
            elif "embed_tokens" in name:
                value = normal(generator, parameter.shape, 0.2 if model.config.tie_word_embeddings else 1.0)
            else:
                value = normal(generator, parameter.shape, 1.2 * parameter.shape[1] ** -0.5)
            parameter.copy_(value)
        if case["amplify"]:
            amplify(model, generator)
        for parameter in model.parameters():
            parameter.copy_(parameter.to(case["dtype"]).float())


def amplify(model, generator):
    """Makes a few input channels of every linear outliers: the tensor that feeds the linear grows 8 to 24 times in those
    channels, and the linear's weights shrink there by a little less, so that the model stays sane: were its attention
    saturated, ten steps of training would turn a last bit into a percent."""
    config = model.config
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    group = config.num_attention_heads // config.num_key_value_heads
    kv_size = config.num_key_value_heads * head_dim

    def pick(n, limit):
        return torch.randperm(limit, generator=generator)[:n].tolist()

    def factor():
        return 8 + 16 * torch.rand((), generator=generator).item()

    if norm_before_attention(model.model.layers[0]) is None:  # the stream itself is what linears read
        for c in pick(3, config.hidden_size):
            model.model.embed_tokens.weight[:, c] *= factor()
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        fused = hasattr(attention, "qkv_proj")
        qkv = [attention.qkv_proj] if fused else [attention.q_proj, attention.k_proj, attention.v_proj]
        gate_up = [mlp.gate_up_proj] if fused else [mlp.gate_proj, mlp.up_proj]
        for norm, linears in [(norm_before_attention(layer), qkv), (norm_before_mlp(layer), gate_up)]:
            if norm is None:
                continue
            for c in pick(3, config.hidden_size):
                f = factor()
                norm.weight[c] = (1 + norm.weight[c]) * f - 1 if adds_one(model) else norm.weight[c] * f
                for linear in linears:
                    linear.weight[:, c] *= f ** -0.85
        for c in pick(1, kv_size):  # a value channel reaches o_proj once per query head of its group
            f = factor()
            if fused:
                attention.qkv_proj.weight[config.hidden_size + kv_size + c] *= f
            else:
                attention.v_proj.weight[c] *= f
            for h in range(group):
                attention.o_proj.weight[:, (c // head_dim * group + h) * head_dim + c % head_dim] *= f ** -0.85
        for c in pick(4, config.intermediate_size):
            f = factor()
            if fused:
                mlp.gate_up_proj.weight[config.intermediate_size + c] *= f
            else:
                mlp.up_proj.weight[c] *= f
            mlp.down_proj.weight[:, c] *= f ** -0.85


def norm_before_attention(layer):
    return getattr(layer, "input_layernorm", None)


def norm_before_mlp(layer):
    """None in OLMo 2."""
    if norm_before_attention(layer) is None:
        return None
    return getattr(layer, "pre_feedforward_layernorm", layer.post_attention_layernorm)


def make_batch(generator, lengths, vocab_size):
    """Sequences laid end to end. As in instruction tuning, a prefix of each carries no loss; so does a token here and
    there behind it, and the first label of a sequence of one token, which nothing can predict."""
    ids, labels, cu_seqlens = [], [], [0]
    for length in lengths:
        tokens = torch.randint(3, vocab_size, (length,), generator=generator)
        target = tokens.clone()
        target[: length // 3] = -100
        target[torch.rand(length, generator=generator) < 0.1] = -100
        if length > 1:
            target[-1] = tokens[-1]
        ids += tokens.tolist()
        labels += target.tolist()
        cu_seqlens.append(len(ids))
    return {"input_ids": ids, "labels": labels, "cu_seqlens": cu_seqlens}


def sequences(batch):
    """(input_ids, labels) of each sequence, as tensors of shape [1, T]."""
    for begin, end in zip(batch["cu_seqlens"], batch["cu_seqlens"][1:]):
        yield torch.tensor([batch["input_ids"][begin:end]]), torch.tensor([batch["labels"][begin:end]])


def n_labelled(batch):
    """Labelled positions that some token of the same sequence predicts."""
    return sum((labels[0, 1:] != -100).sum().item() for _, labels in sequences(batch))
