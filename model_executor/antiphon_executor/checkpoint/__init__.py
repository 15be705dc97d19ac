"""What a checkpoint says of itself: family, voices, model card, media sizes. Imports `models` and below."""
