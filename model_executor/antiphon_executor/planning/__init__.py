"""Will a model fit: weights, caches and slots by arithmetic, before anything is loaded."""
