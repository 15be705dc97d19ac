"""What antiphon-nano can say, hear and see: words, sentences, tokenizer."""
