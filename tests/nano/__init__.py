"""Tests of antiphon_nano. They need no teacher, no judge and no trained weights."""
