"""Our server and vLLM's front end over one scheduled echo, and the clients that measure both processes."""
