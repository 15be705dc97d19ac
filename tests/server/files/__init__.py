"""Models by name, from a stand-in of the Hugging Face hub."""
