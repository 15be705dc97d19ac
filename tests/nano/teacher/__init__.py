"""The teacher's alignment and the file format of speech."""
