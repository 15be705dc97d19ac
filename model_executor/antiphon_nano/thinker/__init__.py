"""How antiphon-nano learns to read, listen, see and answer: dialogues, batches, stages, figures."""
