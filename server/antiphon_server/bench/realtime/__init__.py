"""Spoken conversations over a Realtime API: `antiphon bench --realtime`.

In: options and recordings; out: one `TurnRecord` per turn, and a report. A microphone and a player on
virtual clocks stand in for the user: no time depends on a sound device.
"""
