"""The road campaign: a gate's writer, its uplink, a broker and the street as processes, and everything that breaks."""
