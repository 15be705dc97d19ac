"""The V2 model runner of vLLM, which CUDA gets, on a CPU."""
