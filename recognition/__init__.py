"""A library of faces: a picture in, a face reading out.

The front door is `recognition.pipeline.Pipeline`; `recognition.models` fetches and verifies the files it needs.
"""
