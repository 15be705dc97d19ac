"""HTTP routes: thin, one file a resource."""
