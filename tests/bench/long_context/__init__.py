"""What `bench_long_context` is made of."""
