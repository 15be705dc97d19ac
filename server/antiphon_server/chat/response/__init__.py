"""Events of the engine → the parts of an OpenAI response: chunks, completions, word timestamps, usage."""
