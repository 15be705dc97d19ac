"""The end of a Talker step on a GPU: functions of tensors, their CUDA graphs and streams, slots by request.

`frame_end` draws the frames and makes their sound, `frame_graphs` captures both, `sound_order` puts the sound
on a stream of its own, `model_state` plugs all into vLLM's V2 runner.
"""
