"""HTTP front end of Antiphon. Imports neither torch nor vLLM."""
