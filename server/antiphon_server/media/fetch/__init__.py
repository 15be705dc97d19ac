"""Media behind URLs: which addresses may be fetched, and the HTTP client that fetches them."""
