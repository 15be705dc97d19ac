"""The voices that antiphon-nano learns to speak with, and their alignment."""
