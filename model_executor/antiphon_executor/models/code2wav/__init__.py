"""The vocoder (Code2Wav), one step at a time: code frames in, waveform out, state by slot."""
