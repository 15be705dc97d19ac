"""A model by its name on the Hugging Face hub: from the local cache, or downloaded into it.

In: a name such as `Qwen/Qwen3-Omni-30B-A3B-Instruct` and a revision. Out: the snapshot's folder. Imports
`exits` only; huggingface_hub is imported when a name is given.
"""
