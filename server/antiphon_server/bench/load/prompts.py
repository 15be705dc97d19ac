"""The default questions of the benchmark, whose spoken answers take several seconds.

Each number gives another question, so that no cache can answer instead of the model.
"""

from __future__ import annotations

_QUESTIONS = (
    "In three sentences, why is the sky blue on day {n} of the year?",
    "Tell me a short story about {n} geese and a river.",
    "How would you explain the number {n} to a child?",
    "What should I pack for a walk of {n} kilometres in autumn? Answer in a few sentences.",
    "Describe a small town with {n} houses, as a radio reporter would.",
    "Give me directions through an old library with {n} rooms, calmly and in three sentences.",
    "My train leaves in {n} minutes. What can I do until then?",
    "Please read me the news of an imaginary village with {n} inhabitants.",
)
IMAGE_QUESTION = "What do you see in this picture? Say it in two sentences."
VIDEO_QUESTION = "What happens in this video? Say it in two sentences."
NOISE_QUESTION = "What do you hear in this recording?"


def question(number: int) -> str:
    """The question of this number. The eight texts repeat, each time with another number in them."""
    return _QUESTIONS[number % len(_QUESTIONS)].format(n=number + 3)
