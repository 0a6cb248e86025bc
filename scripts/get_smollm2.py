"""Converts a GGUF file of SmolLM2-135M-Instruct into a Hugging Face model directory in BF16.

    python3 scripts/get_smollm2.py SmolLM2-135M-Instruct.Q4_1.gguf models/smollm2-135m-instruct

Everything comes from the GGUF: hyperparameters, vocabulary, merges, chat template and weights. The weights are the
values its 4- and 8-bit blocks stand for, rounded to BF16, so this is the quantised file's model, slightly worse than the
original checkpoint. llama.cpp's converter reordered the rows of q_proj and k_proj for its interleaved RoPE; that is undone.

Needs the packages gguf and numpy. scripts/get_smollm2.sh installs them in a private environment and calls this.
"""

import json
import os
import shutil
import sys

import gguf
import numpy as np

# GGUF name of a tensor in block b -> Hugging Face name in layer b.
BLOCK_TENSORS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
TOP_TENSORS = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
CONTROL_TOKEN = 3  # gguf.TokenType.CONTROL


def huggingface_name(name):
    if name in TOP_TENSORS:
        return TOP_TENSORS[name]
    _, layer, kind, _ = name.split(".")  # blk.7.attn_q.weight
    return f"model.layers.{layer}.{BLOCK_TENSORS[kind]}.weight"


def rotate_half_rows(w, n_heads):
    """Rows of a head from interleaved pairs (x0 y0 x1 y1 ..) back to halves (x0 x1 .. y0 y1 ..)."""
    rows, cols = w.shape
    return w.reshape(n_heads, rows // n_heads // 2, 2, cols).swapaxes(1, 2).reshape(rows, cols)


def to_bf16(x):
    """The upper 16 bits of each float32, rounded to nearest, ties to even. The weights hold no NaN."""
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def write_safetensors(path, tensors):
    """tensors: name -> uint16 array of BF16 bits. The file: header length in 8 bytes, JSON header, data."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, data in tensors.items():
        header[name] = {"dtype": "BF16", "shape": list(data.shape), "data_offsets": [offset, offset + data.nbytes]}
        offset += data.nbytes
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with open(path, "wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for data in tensors.values():
            file.write(data.tobytes())


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=2)
        file.write("\n")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, destination = sys.argv[1:]
    reader = gguf.GGUFReader(source)

    def field(name):
        if name not in reader.fields:
            sys.exit(f"{source}: has no metadata field {name}; this script reads llama.cpp files of LLaMA models only.")
        return reader.fields[name].contents()

    if (field("general.architecture"), field("tokenizer.ggml.pre")) != ("llama", "smollm"):
        sys.exit(f"{source}: is not a SmolLM2 model; its architecture or its tokenizer is another.")
    n_layers, n_heads = field("llama.block_count"), field("llama.attention.head_count")
    n_kv_heads, max_positions = field("llama.attention.head_count_kv"), field("llama.context_length")
    tokens, token_types = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type")
    bos, eos = field("tokenizer.ggml.bos_token_id"), field("tokenizer.ggml.eos_token_id")
    unknown, padding = field("tokenizer.ggml.unknown_token_id"), field("tokenizer.ggml.padding_token_id")

    tensors = {}
    for tensor in reader.tensors:
        w = gguf.dequantize(tensor.data, tensor.tensor_type)
        if ".attn_q." in tensor.name:
            w = rotate_half_rows(w, n_heads)
        elif ".attn_k." in tensor.name:
            w = rotate_half_rows(w, n_kv_heads)
        tensors[huggingface_name(tensor.name)] = to_bf16(w)
    expected = len(TOP_TENSORS) + n_layers * len(BLOCK_TENSORS)  # no output.weight: the head is the embedding
    if len(tensors) != expected:
        sys.exit(f"{source}: holds {len(tensors)} tensors where a tied LLaMA of {n_layers} layers has {expected}.")

    # Written beside the destination and renamed last: a directory of that name is always complete.
    unfinished = destination.rstrip("/") + ".unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    os.makedirs(unfinished)
    write_safetensors(f"{unfinished}/model.safetensors", tensors)
    write_json(f"{unfinished}/config.json", {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "bos_token_id": bos,
        "eos_token_id": eos,
        "pad_token_id": padding,
        "head_dim": field("llama.rope.dimension_count"),
        "hidden_act": "silu",
        "hidden_size": field("llama.embedding_length"),
        "intermediate_size": field("llama.feed_forward_length"),
        "max_position_embeddings": max_positions,
        "mlp_bias": False,
        "num_attention_heads": n_heads,
        "num_hidden_layers": n_layers,
        "num_key_value_heads": n_kv_heads,
        # stored as float32, where 1e-5 is 9.99999974e-06: seven digits are all it holds
        "rms_norm_eps": float(f"{field('llama.attention.layer_norm_rms_epsilon'):.7g}"),
        "rope_scaling": None,
        "rope_theta": field("llama.rope.freq_base"),
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "vocab_size": len(tokens),
    })
    write_json(f"{unfinished}/generation_config.json", {"bos_token_id": bos, "eos_token_id": eos, "pad_token_id": padding})

    special = [i for i, kind in enumerate(token_types) if kind == CONTROL_TOKEN]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    write_json(f"{unfinished}/tokenizer.json", {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": tokens[i], **flags} for i in special],
        "normalizer": None,
        # GGUF names this pair "smollm": each digit alone, then GPT-2's regular expression
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": field("tokenizer.ggml.merges"),
        },
    })
    roles = {"bos_token": tokens[bos], "eos_token": tokens[eos], "pad_token": tokens[padding], "unk_token": tokens[unknown]}
    write_json(f"{unfinished}/special_tokens_map.json", roles)
    write_json(f"{unfinished}/tokenizer_config.json", {
        # transformers 5 rebuilds the pre-tokenizer of a GPT2Tokenizer without the digits; this class takes tokenizer.json as it is
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": False,
        "added_tokens_decoder": {str(i): {"content": tokens[i], **flags} for i in special},
        **roles,
        "chat_template": field("tokenizer.chat_template"),
        "clean_up_tokenization_spaces": False,
        "model_max_length": max_positions,
    })
    shutil.rmtree(destination, ignore_errors=True)
    os.rename(unfinished, destination)


if __name__ == "__main__":
    main()
