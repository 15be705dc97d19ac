"""Word error rates and spectra."""
