"""The Quaff method in plain PyTorch, written from its equations: a second opinion on the C++, sharing no code with it.

    python quaff_reference.py [case[/variant] ...]     run by hand, after make_golden.py; adds to test/data/golden/<case>/

Notation: N tokens, I inputs, O outputs, X [N,I], W [O,I]; Oc the outlier channels of a layer; q, k, v (and gate, up)
are one joint layer, because they share their input.

Once:       dW[o] = max_i |W[o,i]| / 127;  Wq = clamp(round(W / dW));  Wo = W[:, Oc];  wmax[j] = max_o |Wo[o,j]|
Forward:    xmax[j] = max_n |X[n,Oc[j]]|;  beta = max(1, sqrt(xmax / wmax));  s = gamma s + (1 - gamma) beta
            Xh = X with channels Oc divided by s;  dX[n] = max_i |Xh[n,i]| / 127;  Xq = clamp(round(Xh / dX))
            Y = dX dW (Xq Wq^T) + Xh[:,Oc] ((s-1) Wo)^T + alpha/r X A^T B^T + bias
Backward:   G = dY dW;  dG[n] = max_o |G[n,o]| / 127;  dX = dG (clamp(round(G / dG)) Wq)      straight through, to X
            or, with 16 gradient bits, dX = dY (dW Wq)

The variants depart from this, the published method:
rotated     Wq is made of W H, Xq of Xh H, and the backward pass ends with dX H. H is block-diagonal, its blocks Hadamard
            matrices of the largest power of two that divides I, from 8 to 64, divided by the root of their size
split       Xh is X with 0 in the channels Oc, and X[:,Oc] Wo^T is added to Y; there is no s
naive       there are no channels Oc
strength    beta = max(1, (xmax / wmax)^strength)
The methods that Quaff is compared with are in other_methods.py.

Rounding is to the nearest even. A row of zeros gets the scale 1. int8 products are summed exactly (fp64 holds them).
Everything else is fp32, on one thread.

Files, next to make_golden.py's:

  outlier/<strategy>.json   what calibration must find: the outlier file of each strategy; the variants read them
  <variant>.json            batches, options, losses, gradient norms, spreads; the published method's is quaff.json
  <variant>.safetensors     for <kind> exact and train:
                            <kind>.logits          the first 16 rows of the evaluations' logits, in their order
                            <kind>.scales.<layer>  [steps + 1, channels]: s before the first step and after each
                            <kind>.final.<name>    the adapter after the last step, under PEFT's names
                            exact.grad.<name>      the adapter gradients of the first step

A value that lies within fp32 noise of a rounding boundary may round the other way in an implementation that sums in
another order, and from there on the two runs differ by one int8 step in one element, which grows over the steps. So
there are two kinds of golden. `exact`: an evaluation, three training steps and an evaluation on small batches, found by
searching seeds, in which no quantised value comes close to a boundary: there a right implementation agrees as tightly
as in full precision. `train`: more steps on ordinary batches. For both, `spread` records how far this very reference
moves when its embeddings are disturbed by one part in a million; the tests take their bounds from it.
"""

import json
import math
import pathlib
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

import tiny_models
from other_methods import METHODS
from make_golden import ADAMW, MAX_GRAD_NORM, ROOT, learning_rate

F = torch.nn.functional
EXACT_STEPS = 3

# Per case: gamma, the bits of the backward GEMM, whether s starts from the calibration's max_abs or from the first
# forward, and the strategy whose channels are trained with. The ratios leave each layer a few of its 48 to 80 channels.
QUAFF_CASES = {
    "llama_gqa": dict(gamma=0.1, grad_bits=8, use_max_abs=True, strategy="token_max", ratio=0.11),
    "llama_tied_llama3": dict(gamma=0.3, grad_bits=8, use_max_abs=False, strategy="token_max", ratio=0.11),
    "phi3": dict(gamma=0.1, grad_bits=16, use_max_abs=True, strategy="mean_times", ratio=0.11),
    "qwen2": dict(gamma=0.1, grad_bits=8, use_max_abs=True, strategy="token_max", ratio=0.11),
    "qwen3": dict(gamma=0.2, grad_bits=8, use_max_abs=False, strategy="token_max", ratio=0.11),
    "smollm3": dict(gamma=0.1, grad_bits=8, use_max_abs=True, strategy="token_max", ratio=0.11),
    "granite": dict(gamma=0.1, grad_bits=8, use_max_abs=False, strategy="token_max", ratio=0.11),
    "olmo2": dict(gamma=0.2, grad_bits=8, use_max_abs=True, strategy="token_max", ratio=0.11),
    "gemma2": dict(gamma=0.1, grad_bits=8, use_max_abs=True, strategy="token_max", ratio=0.11),
    "gemma3": dict(gamma=0.1, grad_bits=8, use_max_abs=False, strategy="token_max", ratio=0.11),
}
PUBLISHED = dict(method="quaff", rotation=False, term="scaled", steps=6)
OURS = PUBLISHED | dict(steps=10)
# Which cases each variant is computed for. Their layers have rows of 48, 72 and 80 elements: blocks of 16 and of 8.
VARIANTS = {
    "quaff": (PUBLISHED, list(QUAFF_CASES)),
    "rotated": (OURS | dict(rotation=True), list(QUAFF_CASES)),
    "split": (OURS | dict(term="split"), ["llama_gqa"]),
    "rotated_split": (OURS | dict(rotation=True, term="split"), ["llama_tied_llama3", "phi3"]),
    "naive": (OURS | dict(method="naive"), ["llama_gqa"]),
    "strength": (OURS | dict(rotation=True, strength=0.75), ["phi3"]),
    "llm_int8": (OURS | dict(method="llm-int8", threshold=2.5), ["llama_gqa", "phi3"]),
    "smooth_static": (OURS | dict(method="smooth-static", alpha=0.5), ["llama_gqa", "phi3"]),
    "smooth_dynamic": (OURS | dict(method="smooth-dynamic", alpha=0.625), ["llama_gqa", "phi3"]),
    "qlora": (OURS | dict(method="qlora"), ["llama_tied_llama3", "phi3"]),
}
# The outlier file of all channels, which smooth-static takes.
ALL_CHANNELS = "all"
# Thresholds for tiny models: low enough that each strategy finds some channels and leaves others.
THRESHOLDS = {"token_max": 100.0, "mean_times": 6.0, "static": 5.0, "zscore": 3.5, "top_abs": 100.0}
GROUPS = {"self_attn.qkv_proj": ["q_proj", "k_proj", "v_proj"], "self_attn.o_proj": ["o_proj"],
          "mlp.gate_up_proj": ["gate_proj", "up_proj"], "mlp.down_proj": ["down_proj"]}


class Rounding:
    """Smallest distance of any quantised value from a rounding boundary, in int8 steps, since the last reset."""
    margin = math.inf

    @classmethod
    def quantise(cls, x, scale):
        steps = x / scale
        cls.keep_away((steps - torch.floor(steps) - 0.5).abs().min())
        return steps.round().clamp(-127, 127)  # torch rounds half to even

    @classmethod
    def keep_away(cls, distance):
        cls.margin = min(cls.margin, distance.item())

    @staticmethod
    def row_scale(x):
        scale = x.abs().amax(dim=1, keepdim=True) / 127
        return torch.where(scale == 0, torch.ones_like(scale), scale)

    @staticmethod
    def int_matmul(a, b):
        """a @ b for integer-valued fp32: exact, then rounded once to fp32, as int32 accumulation is."""
        return (a.double() @ b.double()).float()


row_scale, int_matmul = Rounding.row_scale, Rounding.int_matmul


def hadamard(width):
    """H of rows of `width`, dense."""
    block = next((b for b in (64, 32, 16, 8) if width % b == 0), 1)
    h = torch.ones(1, 1, dtype=torch.float64)
    while h.shape[0] < block:
        h = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64), h)
    return torch.block_diag(*[h / math.sqrt(block)] * (width // block))


class StraightThrough(torch.autograd.Function):
    """The frozen part of a quantised layer: int8 product and outlier term forward, the same int8 weight backward."""

    @staticmethod
    def forward(ctx, x, layer, s):
        xh = x.clone()
        xh[:, layer.channels] = 0 if layer.split else xh[:, layer.channels] / s
        rotated = layer.rotate(xh)
        scale = row_scale(rotated)
        y = int_matmul(Rounding.quantise(rotated, scale), layer.wq.T) * scale * layer.dw
        ctx.layer = layer
        if layer.split:
            return y + x[:, layer.channels] @ layer.wo.T
        return y + xh[:, layer.channels] @ ((s - 1) * layer.wo).T

    @staticmethod
    def backward(ctx, dy):
        layer = ctx.layer
        if layer.grad_bits == 16:
            return layer.rotate(dy @ (layer.dw[:, None] * layer.wq)), None, None
        g = dy * layer.dw
        scale = row_scale(g)
        return layer.rotate(int_matmul(Rounding.quantise(g, scale), layer.wq) * scale), None, None


class JointLinear:
    """One quantised layer with the adapters of the linears that it joins."""

    def __init__(self, weight, bias, adapters, scaling):
        self.weight, self.bias, self.adapters, self.scaling = weight, bias, adapters, scaling
        self.quantised, self.other = False, None
        self.weight_margin = math.inf  # as Rounding.margin, of the weights

    def quantise(self, channels, max_abs, options):
        self.quantised, self.gamma, self.grad_bits = True, options["gamma"], options["grad_bits"]
        if options["method"] in METHODS:
            self.other = METHODS[options["method"]](self.weight, (channels, max_abs), options, Rounding)
            self.s, self.initialised = torch.ones(0), False
            return
        self.split, self.strength = options["term"] == "split", options.get("strength", 0.5)
        self.h = hadamard(self.weight.shape[1]) if options["rotation"] else None
        if options["method"] == "naive":
            channels, max_abs = [], None
        self.channels = torch.tensor(channels, dtype=torch.long)
        rotated = self.rotate(self.weight)
        self.dw = row_scale(rotated)[:, 0]
        Rounding.margin = math.inf
        self.wq = Rounding.quantise(rotated, self.dw[:, None])
        self.weight_margin = Rounding.margin
        self.wo = self.weight[:, self.channels]
        self.wmax = self.wo.abs().amax(dim=0)
        self.initialised = max_abs is not None
        self.s = self.beta(torch.tensor(max_abs)) if self.initialised else torch.ones(len(channels))
        if self.split:
            self.s = torch.ones(0)

    def rotate(self, x):
        """x H; a sum in fp64, so that its rounding is no noise of this reference."""
        return x if self.h is None else (x.double() @ self.h).float()

    def beta(self, xmax):
        ratio = torch.where(self.wmax == 0, torch.ones_like(xmax), xmax / self.wmax)
        return (ratio ** self.strength).clamp(min=1)

    def observe(self, x):
        """The scales move once per training forward, with the maxima of the whole packed micro-batch."""
        if self.split:
            return
        beta = self.beta(x.detach()[:, self.channels].abs().amax(dim=0))
        self.s = self.gamma * self.s + (1 - self.gamma) * beta if self.initialised else beta
        self.initialised = True

    def __call__(self, x, training):
        if self.other:
            y = self.other(x)
        elif self.quantised:
            if training:
                self.observe(x)
            y = StraightThrough.apply(x, self, self.s)
        else:
            y = x @ self.weight.T
        parts = []
        for rows, pair in self.adapters:
            parts.append(self.scaling * (x @ pair[0].T) @ pair[1].T if pair else x.new_zeros(x.shape[0], rows))
        y = y + torch.cat(parts, dim=1)
        return y if self.bias is None else y + self.bias


class Model:
    """A decoder over packed sequences, from the tensors of the files and nothing else but transformers' rotary tables."""

    def __init__(self, directory):
        self.config = AutoConfig.from_pretrained(directory / "model")
        hf = AutoModelForCausalLM.from_pretrained(directory / "model", dtype=torch.float32).eval()
        self.hf, self.rotary = hf, hf.model.rotary_emb
        gemma = self.config.model_type.startswith("gemma")
        self.added = 1 if gemma else 0
        weights = {name: p.detach().clone() for name, p in hf.state_dict().items()}
        self.embed, self.head, self.norm = weights["model.embed_tokens.weight"], weights["lm_head.weight"], weights["model.norm.weight"] + self.added
        config = self.config
        self.embedding_multiplier = config.hidden_size ** 0.5 if gemma else getattr(config, "embedding_multiplier", 1)
        self.residual_multiplier = getattr(config, "residual_multiplier", 1)
        self.logits_scaling = getattr(config, "logits_scaling", 1)
        self.activation = (lambda x: F.gelu(x, approximate="tanh")) if gemma else F.silu
        adapter_config = json.loads((directory / "adapter" / "adapter_config.json").read_text())
        self.adapter = {name: p.requires_grad_() for name, p in sorted(load_file(directory / "adapter" / "adapter_model.safetensors").items())}
        self.head_dim = getattr(self.config, "head_dim", None) or self.config.hidden_size // self.config.num_attention_heads
        self.layers, self.linears = [], {}
        for i in range(self.config.num_hidden_layers):
            own = f"model.layers.{i}."
            types, no_rope = getattr(self.config, "layer_types", None), getattr(self.config, "no_rope_layers", None)
            slides = types is None or types[i] == "sliding_attention"
            layer = {"type": types[i] if types else None,
                     "window": (slides and getattr(self.config, "sliding_window", None)) or math.inf,
                     "has_rope": no_rope is None or no_rope[i] == 1}
            layer |= dict.fromkeys(["q_norm", "before_attention", "after_attention", "before_mlp", "after_mlp"])
            layer |= {norm: weights[own + name + ".weight"] + self.added
                      for norm, name in self.norms_of_block(own, weights).items()}
            for group, separate in GROUPS.items():
                prefix, joint = f"model.layers.{i}.{group.split('.')[0]}.", group.split(".")[1]
                members = [joint] if f"{prefix}{joint}.weight" in weights else separate
                parts = [weights[f"{prefix}{m}.weight"] for m in members]
                biases = [weights[f"{prefix}{m}.bias"] for m in members if f"{prefix}{m}.bias" in weights]
                adapters = []
                for member, part in zip(members, parts):
                    key = f"base_model.model.{prefix}{member}.lora_"
                    pair = (self.adapter[f"{key}A.weight"], self.adapter[f"{key}B.weight"]) if f"{key}A.weight" in self.adapter else None
                    adapters.append((part.shape[0], pair))
                layer[group] = JointLinear(torch.cat(parts), torch.cat(biases) if biases else None, adapters,
                                           adapter_config["lora_alpha"] / adapter_config["r"])
                self.linears[f"model.layers.{i}.{group}"] = layer[group]
            self.layers.append(layer)

    @staticmethod
    def norms_of_block(own, weights):
        """The names of a block's norms by what they norm."""
        if own + "pre_feedforward_layernorm.weight" in weights:
            names = dict(before_attention="input_layernorm", after_attention="post_attention_layernorm",
                         before_mlp="pre_feedforward_layernorm", after_mlp="post_feedforward_layernorm")
        elif own + "input_layernorm.weight" in weights:
            names = dict(before_attention="input_layernorm", before_mlp="post_attention_layernorm")
        else:
            names = dict(after_attention="post_attention_layernorm", after_mlp="post_feedforward_layernorm")
        if own + "self_attn.q_norm.weight" in weights:
            names |= dict(q_norm="self_attn.q_norm", k_norm="self_attn.k_norm")
        return names

    def rmsnorm(self, x, weight):
        if weight is None:
            return x
        return x * torch.rsqrt((x * x).mean(dim=-1, keepdim=True) + self.config.rms_norm_eps) * weight

    def rotate(self, heads, cos, sin):
        """[T, n, head_dim]: channel c turns with channel c + half of the rotated ones; the rest pass."""
        half = cos.shape[-1] // 2
        cos, sin = cos[:, None, :half], sin[:, None, :half]
        a, b, rest = heads[..., :half], heads[..., half:2 * half], heads[..., 2 * half:]
        return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], dim=-1)

    def attention(self, layer, qkv, cu_seqlens):
        h, kv, d = self.config.num_attention_heads, self.config.num_key_value_heads, self.head_dim
        outputs = []
        for begin, end in zip(cu_seqlens, cu_seqlens[1:]):
            n = end - begin
            of_layer = [layer["type"]] if self.config.model_type == "gemma3_text" else []
            cos, sin = (t[0] for t in self.rotary(qkv, torch.arange(n)[None], *of_layer))
            q, k, v = qkv[begin:end].reshape(n, h + 2 * kv, d).split([h, kv, kv], dim=1)
            if layer["q_norm"] is not None:
                whole = layer["q_norm"].shape[0] == h * d  # all heads as one
                q, k = (self.rmsnorm(heads.reshape(n, -1) if whole else heads, weight).reshape(heads.shape)
                        for heads, weight in ((q, layer["q_norm"]), (k, layer["k_norm"])))
            if layer["has_rope"]:
                q, k = self.rotate(q, cos, sin), self.rotate(k, cos, sin)
            k, v = k.repeat_interleave(h // kv, dim=1), v.repeat_interleave(h // kv, dim=1)
            scores = self.cap(torch.einsum("ihd,jhd->hij", q, k) * self.score_scale(),
                              self.config.model_type == "gemma2" and self.config.attn_logit_softcapping)
            age = torch.arange(n)[:, None] - torch.arange(n)[None]
            scores = scores.masked_fill((age < 0) | (age >= layer["window"]), -math.inf)
            outputs.append(torch.einsum("hij,jhd->ihd", scores.softmax(dim=-1), v).reshape(n, h * d))
        return torch.cat(outputs)

    def score_scale(self):
        if hasattr(self.config, "query_pre_attn_scalar"):
            return self.config.query_pre_attn_scalar ** -0.5
        return getattr(self.config, "attention_multiplier", self.head_dim ** -0.5)

    @staticmethod
    def cap(x, limit):
        return limit * torch.tanh(x / limit) if limit else x

    def logits(self, batch, training=False, inputs=None):
        """[N,V]. `inputs`, a dict, collects the input of every layer by name."""
        x = self.embed[torch.tensor(batch["input_ids"])] * self.embedding_multiplier
        m = self.residual_multiplier
        for i, layer in enumerate(self.layers):
            def linear(group, value):
                if inputs is not None:
                    inputs[f"model.layers.{i}.{group}"] = value.detach()
                return layer[group](value, training)

            qkv = linear("self_attn.qkv_proj", self.rmsnorm(x, layer["before_attention"]))
            attention = linear("self_attn.o_proj", self.attention(layer, qkv, batch["cu_seqlens"]))
            x = x + m * self.rmsnorm(attention, layer["after_attention"])
            gate, up = linear("mlp.gate_up_proj", self.rmsnorm(x, layer["before_mlp"])).chunk(2, dim=1)
            x = x + m * self.rmsnorm(linear("mlp.down_proj", self.activation(gate) * up), layer["after_mlp"])
        logits = self.rmsnorm(x, self.norm) @ self.head.T / self.logits_scaling
        return self.cap(logits, getattr(self.config, "final_logit_softcapping", None))

    def loss(self, batch, training=False):
        """Mean over the labelled tokens; row n predicts token n + 1 of its own sequence."""
        targets = torch.tensor(batch["labels"])[1:].clone()
        for begin in batch["cu_seqlens"][1:-1]:
            targets[begin - 1] = -100
        return F.cross_entropy(self.logits(batch, training)[:-1], targets, ignore_index=-100)

    def quantise(self, outliers, options):
        for name, linear in self.linears.items():
            linear.quantise(outliers["channels"][name], outliers["max_abs"][name] if options["use_max_abs"] else None,
                            options)

    def scales(self):
        return {name: linear.s.clone() for name, linear in self.linears.items()}

    def zero_gradients(self):
        for p in self.adapter.values():
            p.grad = None


def check_against_transformers(model, batch):
    """Without quantisation and adapters this decoder is the one of transformers."""
    pairs = [(linear, linear.adapters) for linear in model.linears.values()]
    for linear, adapters in pairs:
        linear.adapters = [(rows, None) for rows, _ in adapters]
    with torch.no_grad():
        expected = torch.cat([model.hf(input_ids=ids).logits[0] for ids, _ in tiny_models.sequences(batch)])
        torch.testing.assert_close(model.logits(batch), expected, rtol=1e-4, atol=1e-4)
    for linear, adapters in pairs:
        linear.adapters = adapters


# ---- calibration -----------------------------------------------------------------------------------------------------

def ranks(strategy, threshold, batches):
    """The rank of every channel of a layer from its inputs, one [N,I] tensor per calibration batch, in fp64.

    Refuses data on which the answer would hang on fp32 noise: a value close to the bound it is compared with."""
    total = torch.zeros(batches[0].shape[1], dtype=torch.float64)
    for x in batches:
        x = x.double()
        if strategy == "token_max":
            top = x.abs().topk(5, dim=1)
            assert ((top.values[:, 3] - top.values[:, 4]) > 1e-6 * top.values[:, 0]).all(), "fourth and fifth largest too close"
            share = (x.abs() / top.values[:, :1]) ** 2
            total += torch.zeros_like(x).scatter(1, top.indices[:, :4], 1.0).mul(share).sum(dim=0)
        elif strategy == "top_abs":
            total = torch.maximum(total, x.abs().amax(dim=0))
        else:
            if strategy == "zscore":
                value, bound = (x - x.mean()).abs() / x.std(correction=0), threshold
            else:
                value, bound = x.abs(), threshold * (x.abs().mean() if strategy == "mean_times" else 1)
            assert ((value - bound).abs() > 1e-6 * bound).all(), "a value lies on the bound"
            total += (value > bound).sum(dim=0)
    return total


def select(rank, cap):
    """The `cap` highest ranks, ties to the lower channel, never a rank of zero; ascending."""
    order = sorted(range(len(rank)), key=lambda c: (-rank[c].item(), c))
    kept = [c for c in order[:cap] if rank[c] > 0]
    if 0 < cap < len(order):
        last, first_out = rank[order[cap - 1]].item(), rank[order[cap]].item()
        assert last == first_out or last - first_out > 1e-5 * last, "ranks too close to call"
    return sorted(kept)


def calibrate(model, batches, strategy, ratio):
    """The outlier file of one strategy, by full-precision forwards of the frozen model (its adapter is not part of it)."""
    saved = {name: linear.adapters for name, linear in model.linears.items()}
    seen = {name: [] for name in model.linears}
    for name, linear in model.linears.items():
        linear.adapters = [(rows, None) for rows, _ in saved[name]]
    with torch.no_grad():
        for batch in batches:
            inputs = {}
            model.logits(batch, inputs=inputs)
            for name, value in inputs.items():
                seen[name].append(value)
    channels, max_abs = {}, {}
    for name, linear in model.linears.items():
        linear.adapters = saved[name]
        cap = math.floor(linear.weight.shape[1] * ratio / 4) * 4 if ratio < 1 else linear.weight.shape[1]
        channels[name] = select(ranks(strategy, THRESHOLDS[strategy], seen[name]), cap)
        max_abs[name] = torch.cat(seen[name]).abs().amax(dim=0)[channels[name]].tolist()
    return dict(strategy=strategy, threshold=THRESHOLDS[strategy], max_ratio=ratio, dataset="golden",
                samples=sum(len(b["cu_seqlens"]) - 1 for b in batches), channels=channels, max_abs=max_abs)


# ---- goldens ---------------------------------------------------------------------------------------------------------

class Run:
    """A model in training: one fresh model, its optimiser, and what every step showed."""

    def __init__(self, directory, options, outliers, adamw, noise_seed=None):
        self.model = Model(directory)
        self.model.quantise(outliers, options)
        if noise_seed is not None:
            generator = torch.Generator().manual_seed(noise_seed)
            self.model.embed = self.model.embed * (1 + 1e-6 * torch.randn(self.model.embed.shape, generator=generator))
        self.optimizer = torch.optim.AdamW(self.model.adapter.values(), lr=adamw["learning_rate"],
                                           weight_decay=adamw["weight_decay"], **ADAMW)
        self.losses, self.grad_norms, self.scales, self.eval_losses, self.eval_logits = [], [], [], [], []
        self.scales_before, self.first_grads = self.model.scales(), None

    def evaluate(self, batch):
        with torch.no_grad():
            self.eval_logits.append(self.model.logits(batch))
            self.eval_losses.append(self.model.loss(batch).item())

    def forward_backward(self, batch):
        self.model.zero_gradients()
        loss = self.model.loss(batch, training=True)
        loss.backward()
        return loss.item()

    def step(self, batch):
        self.losses.append(self.forward_backward(batch))
        if self.first_grads is None:
            self.first_grads = {name: p.grad.clone() for name, p in self.model.adapter.items()}
        self.grad_norms.append(torch.nn.utils.clip_grad_norm_(self.model.adapter.values(), MAX_GRAD_NORM).item())
        self.optimizer.step()
        self.scales.append(self.model.scales())

    def adapter(self):
        return {name: p.detach().clone() for name, p in self.model.adapter.items()}

    def margin(self, batch, work):
        """How close a value comes to a rounding boundary when `work` is done on `batch`; leaves the run as it was."""
        before = [(linear, linear.s, linear.initialised) for linear in self.model.linears.values()]
        Rounding.margin = math.inf
        with torch.set_grad_enabled(work == "step"):
            self.forward_backward(batch) if work == "step" else self.model.loss(batch)
        for linear, linear.s, linear.initialised in before:
            pass
        return Rounding.margin


def replay(run, evaluate_first, batches, evaluate_last):
    """The order of calls in either golden: evaluations, training steps, evaluations."""
    for batch in evaluate_first:
        run.evaluate(batch)
    for batch in batches:
        run.step(batch)
    for batch in evaluate_last:
        run.evaluate(batch)
    return run


def search_exact(run, vocab_size):
    """Batches of eight tokens, the best of many seeds each: one to evaluate, EXACT_STEPS to train on, one to evaluate."""
    found, seed = [], 1000
    for work in ["evaluate"] + ["step"] * EXACT_STEPS + ["evaluate"]:
        candidates = []
        for seed in range(seed, seed + 300):
            batch = tiny_models.make_batch(torch.Generator().manual_seed(seed), [5, 3], vocab_size)
            candidates.append((run.margin(batch, work), seed, batch))
        margin, _, batch = max(candidates)
        run.step(batch) if work == "step" else run.evaluate(batch)
        found.append((margin, batch | {"labelled": tiny_models.n_labelled(batch)}))
    return [batch for _, batch in found], min(margin for margin, _ in found)


def spread(first, others):
    """The largest difference of each kind of number between a run and its disturbed twins, relative to the largest."""
    def relative(a, b):
        if a.numel() == 0:
            return 0.0
        return (a - b).abs().max().item() / max(a.abs().max().item(), 1e-12)

    def flat(tree):
        return torch.cat([t.flatten() for t in tree.values()])

    kinds = {
        "losses": lambda run: torch.tensor(run.losses), "grad_norms": lambda run: torch.tensor(run.grad_norms),
        "eval_losses": lambda run: torch.tensor(run.eval_losses), "logits": lambda run: torch.cat(run.eval_logits),
        "scales": lambda run: torch.cat([flat(scales) for scales in run.scales]),
        "gradients": lambda run: flat(run.first_grads), "adapter": lambda run: flat(run.adapter())}
    return {kind: max(relative(get(first), get(other)) for other in others) for kind, get in kinds.items()}


def make(name, variant):
    options = VARIANTS[variant][0] | QUAFF_CASES[name]
    case, directory = tiny_models.CASES[name], ROOT / name
    golden = json.loads((directory / "golden.json").read_text())
    batches = golden["batches"]
    model = Model(directory)
    check_against_transformers(model, batches[0])

    strategy = ALL_CHANNELS if options["method"] == "smooth-static" else options["strategy"]
    if variant == "smooth_static":
        found = dict(model=name) | calibrate(model, batches, "top_abs", 1)
        (directory / "outlier" / f"{ALL_CHANNELS}.json").write_text(json.dumps(found) + "\n")
    if variant == "quaff":
        (directory / "outlier").mkdir(exist_ok=True)
        for each in THRESHOLDS:
            found = dict(model=name) | calibrate(model, batches, each, options["ratio"])
            (directory / "outlier" / f"{each}.json").write_text(json.dumps(found) + "\n")
            print(f"{name:20} {each:10}", [len(c) for c in found["channels"].values()])
    outliers = json.loads((directory / "outlier" / f"{strategy}.json").read_text())

    def start(noise_seed=None):
        return Run(directory, options, outliers, golden["adamw"], noise_seed)

    found, margin = search_exact(start(), case["config"].vocab_size)
    orders = {"exact": (found[:1], found[1:-1], found[-1:]),
              "train": ([], [batches[i % len(batches)] for i in range(options["steps"])], batches)}
    tensors, numbers = {}, dict(case=name, outliers=f"outlier/{strategy}.json", adamw=golden["adamw"],
                                max_grad_norm=MAX_GRAD_NORM, **options)
    for kind, order in orders.items():
        run = replay(start(), *order)
        moved = spread(run, [replay(start(noise), *order) for noise in range(8)])
        tensors[f"{kind}.logits"] = torch.cat(run.eval_logits)[:16].clone()
        tensors |= {f"{kind}.grad.{key}": g for key, g in run.first_grads.items() if kind == "exact"}
        tensors |= {f"{kind}.final.{key}": p for key, p in run.adapter().items()}
        for key in model.linears:
            tensors[f"{kind}.scales.{key}"] = torch.stack([scales[key] for scales in [run.scales_before] + run.scales])
        numbers[kind] = dict(evaluate_first=order[0], batches=order[1], evaluate_last=order[2], losses=run.losses,
                             grad_norms=run.grad_norms, eval_losses=run.eval_losses, spread=moved)
        print(f"{name:20} {variant:13} {kind}: loss {run.losses[0]:.4f} -> {run.losses[-1]:.4f}; spread "
              + ", ".join(f"{what} {value:.1e}" for what, value in moved.items()))
    if math.isfinite(margin):  # nothing is rounded where weights have four bits
        numbers["exact"]["margin"] = margin
    # Turned weights closer than some 1e-5 may round the other way behind additions in fp32: then the model needs a new seed.
    of_weights = min(linear.weight_margin for linear in run.model.linears.values())
    print(f"{name:20} {variant:13} margin {margin:.1e}, of weights {of_weights:.1e}")
    save_file(tensors, directory / f"{variant}.safetensors")
    (directory / f"{variant}.json").write_text(json.dumps(numbers) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    every = [f"{name}/{variant}" for variant, (_, names) in VARIANTS.items() for name in names]
    for chosen in sys.argv[1:] or every:
        chosen_case, _, chosen_variant = chosen.partition("/")
        make(chosen_case, chosen_variant or "quaff")
