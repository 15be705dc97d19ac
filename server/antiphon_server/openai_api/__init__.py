"""Request and response bodies of the API: OpenAI's, with fields of vLLM and DashScope, and their bounds.

In: JSON. Out: frozen types, or `BadRequest` with the field's name. Imports only `errors`
and the executor's interface.
"""
