"""What the tool asks where it is given nothing to ask: questions whose spoken answers take some seconds.

In: a number. Out: a question, another one for each number, so that no cache answers in the model's place.
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
ABOUT_PICTURE = "What do you see in this picture? Say it in two sentences."
ABOUT_VIDEO = "What happens in this video? Say it in two sentences."
ABOUT_NOISE = "What do you hear in this recording?"


def question(number: int) -> str:
    """The question of this number; from one round of the set to the next its own number differs too."""
    return _QUESTIONS[number % len(_QUESTIONS)].format(n=number + 3)
