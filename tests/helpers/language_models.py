"""Language models of two layers with random weights, in the Hugging Face format."""

import numpy as np
import torch

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 130,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
_TEXT = "the quick brown fox jumps over the lazy dog. a language model predicts the next token"


def save_tokenizer(folder):
    """Write a tokenizer of bytes and some pairs; return the number of tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=290,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([_TEXT] * 5, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    fast.save_pretrained(folder)
    return len(fast)


def write_model(folder, kind, automatic="AutoModelForCausalLM", dtype=torch.float32, **settings):
    """Write a model of an architecture and its tokenizer; return the model."""
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    size = save_tokenizer(folder)
    torch.manual_seed(0)
    config = transformers.CONFIG_MAPPING[kind](vocab_size=size, **{**SMALL, **settings})
    model = getattr(transformers, automatic).from_config(config).eval().to(dtype)
    model.save_pretrained(folder)
    return model


def write_gguf(path):
    """Write a llama of one layer in the GGUF format, with a tokenizer of 40 tokens."""
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(40)
    writer.add_rope_dimension_count(8)
    writer.add_file_type(0)
    letters = [chr(97 + i) for i in range(26)] + [str(i) for i in range(10)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(["<s>", "</s>", *letters, "Ġ", "ab"])
    writer.add_token_types([3, 3] + [1] * 38)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    shapes = {"token_embd": (40, 32), "output_norm": (32,), "output": (40, 32)}
    layer = {
        "attn_norm": (32,), "ffn_norm": (32,), "attn_q": (32, 32), "attn_k": (32, 32),
        "attn_v": (32, 32), "attn_output": (32, 32), "ffn_gate": (64, 32), "ffn_up": (64, 32),
        "ffn_down": (32, 64),
    }  # fmt: skip
    shapes |= {f"blk.0.{name}": shape for name, shape in layer.items()}
    rng = np.random.default_rng(0)
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", rng.standard_normal(shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
