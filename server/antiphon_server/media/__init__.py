"""Media of a request: policy, fetch, decode in a sandboxed child, encode."""
