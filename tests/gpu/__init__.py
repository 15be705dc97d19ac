"""What a GPU will run, shown without one: a step's launches and its compiled kernels.

Nothing here imports vLLM.
"""
