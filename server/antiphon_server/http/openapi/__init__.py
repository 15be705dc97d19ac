"""The OpenAPI document: schemas of the wire types, descriptions of their fields, an example of every call.

In: the routes and the served model. Out: `/openapi.json`. Imports the wire types, not the routes.
"""
