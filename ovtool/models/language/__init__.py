"""Language models: Hugging Face folders, GGUF files, and IR folders with a tokenizer."""
