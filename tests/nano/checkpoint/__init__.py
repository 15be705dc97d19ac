"""The exported checkpoint."""
