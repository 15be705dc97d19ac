"""Questions about antiphon-nano, courtesies, and refusals of everything outside its domain.

Spoken questions consist of the domain's words, typed ones of any words.
"""

from __future__ import annotations

import random

from antiphon_nano.domain import answers, grammar, words
from antiphon_nano.thinker.asking import picture_wording as seeing
from antiphon_nano.thinker.asking import voice_wording as hearing
from antiphon_nano.thinker.asking.numbers import QuestionAnswer
from antiphon_nano.thinker.asking.out_of_domain import outside_question

_NAME = ("what is your name?", "what are you called?", "do you have a name?", "tell me your name.")
_WHO = (
    "who are you?", "what are you?", "tell me about you.", "please tell me who you are.", "are you a robot?",
    "are you a machine?", "what model are you?", "are you a computer?", "can you tell me who you are?",
)  # fmt: skip
_HELLO_WHO = ("hello, who are you?", "hello, please say who you are.", "hello, what is your name?")
_CAN = (
    "what can you do?", "what can I ask you?", "how can you help me?", "what do you know?",
    "what do you understand?", "please tell me what you can do.", "can you help me?",
    "what should I ask you?", "can you show me what you can do?",
)  # fmt: skip
_COURTESY: tuple[tuple[tuple[str, ...], str], ...] = (
    (("hello.", "hello!", "hello Nano.", "hello there.", "hello Nano!"), "hello, how can i help you?"),
    (("good morning.", "good morning!", "good morning Nano."), "good morning!"),
    (("good evening.", "good evening!", "good evening Nano."), "good evening, how are you today?"),
    (("good night.", "good night!", "good night Nano."), "good night, and sleep well."),
    (("how are you?", "how are you today?", "hello, how are you?", "are you well?"), "i am fine, thank you."),
    (("thank you.", "thank you very much.", "thank you!", "thank you Nano."), "you are welcome."),
    (("goodbye.", "goodbye!", "goodbye Nano.", "see you tomorrow."), "goodbye, see you tomorrow!"),
    (("can you hear me?", "do you hear me?"), "i can hear you."),
    (("you are right.", "that is right."), "thank you very much!"),
)
_TYPED_WHO = (
    "introduce yourself", "Please introduce yourself.", "Tell me about yourself.", "Are you ChatGPT?",
    "Which AI are you?", "Who made you?", "Describe yourself.", "Are you human?",
    "What kind of model is this?", "Introduce yourself in one sentence.", "Who am I talking to?",
    "what's this?", "Are you an AI assistant?",
)  # fmt: skip
_TYPED_CAN = (
    "help", "Help!", "What are your capabilities?", "List your features.", "What tasks can you perform?",
    "How do I use you?", "What are you able to do?", "What's possible here?", "Show me a demo.",
)  # fmt: skip
_TYPED_COURTESY: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("hi", "Hi!", "hey", "Hey there", "hello", "Hello", "Hi Nano", "Greetings.", "hi there"),
        _COURTESY[0][1],
    ),
    (("thanks", "Thanks!", "thx", "thank you so much"), _COURTESY[5][1]),
    (("bye", "Bye!", "See you later.", "bye bye"), _COURTESY[6][1]),
    (("How's it going?", "how are you doing?"), _COURTESY[4][1]),
)


def ask_self(rng: random.Random, typed: bool) -> QuestionAnswer:
    """Questions about name, kind and abilities."""
    kind = rng.random()
    if kind < 0.25:
        return _asked(rng, _NAME, answers.SELF[1], "self")
    if kind < 0.35:
        return _asked(rng, _HELLO_WHO, answers.SELF[2], "self")
    if kind < 0.7:
        return _asked(rng, _WHO + (_TYPED_WHO if typed else ()), answers.SELF[0], "self")
    return _asked(rng, _CAN + (_TYPED_CAN if typed else ()), answers.ABLE[0], "self")


def ask_courtesy(rng: random.Random, typed: bool) -> QuestionAnswer:
    forms, answer = rng.choice(_COURTESY + (_TYPED_COURTESY if typed else ()))
    return _asked(rng, forms, answer, "courtesy")


def ask_outside(rng: random.Random, typed: bool) -> QuestionAnswer:
    """A question outside the domain. Spoken: in the domain's words, but without an answer. Typed: about
    anything.
    """
    if typed and rng.random() < 0.75:
        return QuestionAnswer(outside_question(rng), answers.written(answers.REFUSAL[0]), "refusal")
    question = answers.written(grammar.expand(rng.choice(grammar.QUESTIONS), rng) + "?")
    return QuestionAnswer(question, answers.written(answers.REFUSAL[0]), "refusal")


def ask_of_nothing(rng: random.Random) -> QuestionAnswer:
    """A question about a picture or a sound that is missing."""
    if rng.random() < 0.4:
        forms = hearing.DID_I_SAY + hearing.HEAR
        return _asked(rng, forms, "i do not hear anything.", "nothing heard")
    form = rng.choice(seeing.SEE + seeing.HOW_MANY + seeing.COLOUR + seeing.CLIP_SEE + seeing.HOW_MANY_SHAPES)
    shape = rng.randrange(len(words.SHAPES))
    text = form.format(shape=words.SHAPES[shape], plural=words.SHAPE_PLURALS[shape])
    return QuestionAnswer(answers.written(text), answers.written(answers.REFUSAL[0]), "refusal")


def _asked(rng: random.Random, forms: tuple[str, ...], answer: str, kind: str) -> QuestionAnswer:
    return QuestionAnswer(answers.written(rng.choice(forms)), answers.written(answer), kind)
