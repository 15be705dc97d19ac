"""Request and response bodies: OpenAI's, and what DashScope adds."""
