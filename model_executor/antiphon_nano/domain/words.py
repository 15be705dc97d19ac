"""The vocabulary of the domain: a few hundred common words by part of speech, each of them one token.

All words are lower case, except names. `WORDS` holds all of them. A new word changes the tokenizer, and with
it every checkpoint.
"""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


UNITS = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    " seventeen eighteen nineteen"
)
TENS = _words("twenty thirty forty fifty sixty seventy eighty ninety")
COLOURS = _words("red green blue yellow orange purple pink brown black white gray cyan")
SHAPES = _words("circle square triangle star rectangle diamond hexagon cross heart ring line dot")
SHAPE_PLURALS = _words(
    "circles squares triangles stars rectangles diamonds hexagons crosses hearts rings lines dots"
)
SIZES = _words("small large tiny big")
DIRECTIONS = _words("left right up down")
NAMES = _words("Nano Antiphon Anna Tom Lucy Peter Maria David Emma Jack Sara Oliver Alice")
DAYS = _words("today tomorrow tonight morning evening night week year time day")

NOUNS = _words(
    "cat dog house tree river mountain car train book table chair window door garden flower bird fish horse"
    " cow sheep boat ship road bridge city village school teacher student doctor friend mother father sister"
    " brother baby king queen story song picture letter paper pencil phone clock lamp kitchen bread butter"
    " cheese apple banana lemon sugar water milk coffee tea rain snow wind sun moon summer winter spring"
    " autumn forest beach island ocean field farm market shop street park bench wall floor roof box bag hat"
    " coat shoe shirt hand foot head eye ear nose mouth voice music light sound fire stone gold silver glass"
    " wood metal machine computer robot engine wheel key lock map game ball toy cake soup rice egg plate cup"
    " spoon knife word number question answer video color shape tone noise room child man woman world"
)
ADJECTIVES = _words(
    "old new good bad happy sad quick slow hot cold warm cool bright dark loud quiet soft hard long short"
    " tall deep heavy clean dirty empty full open closed young strong weak sweet bitter fresh dry wet rich"
    " poor kind brave clever gentle lazy busy ready early late simple strange famous lovely golden wooden"
    " silent high low little nice"
)
TRANSITIVE = _words(
    "sees finds likes takes brings opens closes makes wants needs holds keeps leaves paints watches follows"
    " helps loves carries moves builds breaks cleans draws reads sells buys washes touches remembers hears"
)
INTRANSITIVE = _words(
    "sleeps runs walks sings jumps waits works plays falls shines swims smiles laughs dances stops begins"
    " ends listens speaks grows"
)
INFINITIVES = _words(
    "see find take bring open close make want need keep watch follow help carry move build clean draw read"
    " sell buy wash hear speak listen sing walk run wait work play swim dance stop sleep count add describe"
    " repeat say tell look know think go come give remember"
)
PAST = _words("said heard saw went came was were had did told took made asked gave")
ADVERBS = _words(
    "quickly slowly quietly often never always again together outside inside here there soon now too very"
    " only also first last then still away back"
)
PREPOSITIONS = _words(
    "near under over behind beside with without before after across from to at in on of for by above below"
    " between into about"
)
FUNCTION = _words(
    "the a an and or but not so because if when while that this these those it he she we you they me him her"
    " them us my your his our their I am is are be been has have do does can could will would should may must"
    " who what where which how why as than there no yes please thank sorry hello goodbye maybe course"
    " many much more some all both each every other another nothing something one"
)
PRODUCT = _words(
    "plus minus times equals sum top bottom middle corner side next moving growing turning shrinking"
    " appears disappears rises silence voices beep beeps tones model demonstration aloud sentence sentences"
    " pictures videos numbers sounds words questions answers spoken text show ask try welcome fine meet"
    " moment hundred let shows says else few well anything letters name names called wrong same different"
    " half shapes colors English language only understand talk turn pleased"
)

WORDS: tuple[str, ...] = tuple(
    dict.fromkeys(
        word
        for kind in (
            UNITS, TENS, COLOURS, SHAPES, SHAPE_PLURALS, SIZES, DIRECTIONS, NAMES, DAYS, NOUNS, ADJECTIVES,
            TRANSITIVE, INTRANSITIVE, INFINITIVES, PAST, ADVERBS, PREPOSITIONS, FUNCTION, PRODUCT,
        )
        for word in kind
    )
)  # fmt: skip
STARTERS: tuple[str, ...] = tuple(
    dict.fromkeys(
        (*NAMES, *FUNCTION, *PREPOSITIONS, *ADVERBS, *DAYS, *UNITS, *INFINITIVES, "number", "good", "nice")
    )
)
"""Words that may begin a sentence after another sentence."""
PUNCTUATION = (".", ",", "?", ":", "!")


def number(value: int) -> str:
    """0 to 100 in words: 32 is "thirty two". Raises ValueError for other numbers."""
    if not 0 <= value <= 100:
        raise ValueError(f"no words for {value}")
    if value < 20:
        return UNITS[value]
    if value == 100:
        return "one hundred"
    tens = TENS[value // 10 - 2]
    return f"{tens} {UNITS[value % 10]}" if value % 10 else tens
