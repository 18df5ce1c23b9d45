"""Language models of two layers with random weights, in the Hugging Face format."""

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
