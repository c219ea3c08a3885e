"""Simulated devices that speak the real bytes, with people and faults on command; a part of the product."""
