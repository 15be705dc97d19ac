"""The files of the documentation page, served by `routes/docs.py`. No code."""
