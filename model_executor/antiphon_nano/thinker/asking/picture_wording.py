"""Wordings of questions about pictures and clips, typed and spoken, in lower case.

Slots: {plural}, {shape}, {colour}, {name} (colour and shape), {thing} (with its article), {place}.
"""

from __future__ import annotations

SEE = (
    "what do you see?", "what do you see in the picture?", "what is in the picture?",
    "describe the picture.", "what does the picture show?", "please describe the picture.",
    "can you tell me what you see?", "what is this?", "what can you see?", "tell me what you see.",
    "what is in this picture?", "please tell me what is in the picture.",
)  # fmt: skip
TYPED_SEE = (
    "Describe this image.",
    "What's in this image?",
    "describe",
    "What is shown here?",
    "Caption this.",
)
HOW_MANY = (
    "how many {plural} are there?", "how many {plural} do you see?", "how many {plural} are in the picture?",
    "count the {plural}.", "please count the {plural}.", "how many {plural} can you see?",
)  # fmt: skip
HOW_MANY_SHAPES = (
    "how many shapes are there?", "how many shapes do you see?", "how many shapes are in the picture?",
    "count the shapes.", "please count the shapes in the picture.",
)  # fmt: skip
COLOUR = (
    "what color is the {shape}?", "which color is the {shape}?", "what is the color of the {shape}?",
    "what color does the {shape} have?", "tell me the color of the {shape}.",
)  # fmt: skip
WHERE = (
    "where is the {name}?", "where do you see the {name}?", "where in the picture is the {name}?",
    "can you tell me where the {name} is?",
)  # fmt: skip
AT = ("what is {place}?", "what do you see {place}?", "what shape is {place}?", "which shape is {place}?")
ANY = (
    "is there {thing}?", "is there {thing} in the picture?", "do you see {thing}?", "can you see {thing}?",
)  # fmt: skip
SHAPE_OF = (
    "what shape is {colour}?",
    "what is {colour}?",
    "which shape is {colour}?",
    "what is the {colour} shape?",
)
CLIP_SEE = (
    "what is happening in the video?", "what is moving?", "what do you see in the video?",
    "what moves where?", "describe the video.", "please describe the video.", "what does the video show?",
    "what is in the video?", "what can you see in the video?", "tell me what is moving.", "what do you see?",
    "can you tell me what moves?",
)  # fmt: skip
CLIP_WHERE = (
    "where is the {shape} moving?", "where does the {shape} go?", "is the {shape} moving left or right?",
    "is the {shape} moving up or down?", "what does the {shape} do?", "what is the {shape} doing?",
)  # fmt: skip
CLIP_COLOUR = (
    "what color is the {shape}?",
    "which color does the {shape} have?",
    "what is the color of the {shape}?",
)
