"""The server's side of decoding: bytes → samples and pixels, by jobs that run in `media.sandbox`."""
