"""The end of a Talker step: one function of tensors (`frame_end`), and CUDA graphs of it (`frame_graphs`)."""
