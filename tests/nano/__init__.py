"""What makes antiphon-nano, held to its word without teachers, judges or training."""
