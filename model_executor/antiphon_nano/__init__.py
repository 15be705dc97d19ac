"""How antiphon-nano is made: its domain, its teachers, its training. Not part of the wheel."""
