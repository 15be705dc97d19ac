"""Messages → prompt token ids, by the checkpoint's own chat template and tokenizer."""
