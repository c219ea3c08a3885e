"""A library of faces: a picture in, a face reading out.

The front door is `recognition.pipeline.Pipeline`; `recognition.models` fetches and verifies the files it needs.
"""

import os

# Before anybody imports numpy. OpenBLAS else keeps a thread a core, which turns idly for a tenth of a second after each
# search of the gallery and takes the core from the networks: on two busy cores an embedding then costs twice its time,
# for a search that one thread does in 0.4 ms. Whoever sets the variable is not overruled.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
