"""The pages at the gate: what staff watch and what residents read. Read-only; it cannot open anything."""
