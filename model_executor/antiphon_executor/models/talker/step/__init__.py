"""The end of a Talker step on a GPU: one function of tensors, its CUDA graphs, and slots by request.

`frame_end` draws the frames, `frame_graphs` captures it, `model_state` plugs both into vLLM's V2 runner.
"""
