"""The errors of the face library.

RecognitionError
├── ModelMissing      a model file of the manifest is not on this machine
├── ModelDamaged      a file's SHA-256 or its known vectors do not agree
├── GalleryMismatch   vectors of different models were about to be compared
└── FaceUnusable      a picture was offered for enrolment and its face cannot be used
"""

from recognition.readings import FaceProblem


class RecognitionError(Exception):
    """Something in the face library failed. The message says what and, after a semicolon, what to try next."""


class ModelMissing(RecognitionError):
    """A model of the manifest is not on this machine."""


class ModelDamaged(RecognitionError):
    """A model file is not what the manifest promises, or does not reproduce its known vectors."""


class GalleryMismatch(RecognitionError):
    """Vectors made by another model cannot be compared with these."""


class FaceUnusable(RecognitionError):
    """A picture offered for enrolment holds no usable face; `problem` is None when it holds no face at all."""

    def __init__(self, message: str, problem: FaceProblem | None) -> None:
        super().__init__(message)
        self.problem = problem
