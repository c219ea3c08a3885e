"""The rules of the gate. No I/O, no clock, no chance: time and randomness arrive as arguments."""
