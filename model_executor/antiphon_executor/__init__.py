"""The Thinker and Talker engines of Antiphon. Importing this package alone imports neither torch nor vLLM."""
