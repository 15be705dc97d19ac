"""HTTP routes, one file per resource.

In: requests whose body has passed its limits. Out: responses. Imports the rest of `http` and below.
"""
