"""Pure dialects of serial devices: bytes in, readings out; nothing here opens a port or looks at a clock."""
