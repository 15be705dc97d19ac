"""What runs inside of a decoder process, behind its confinement. The server never imports this package."""
