"""The fault matrix: every fault of every device, told, survived and healed by a real gate in one process."""
