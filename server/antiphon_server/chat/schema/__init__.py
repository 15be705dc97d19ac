"""JSON schemas of answers: bounds, what compiling them costs, and when they are compiled."""
