"""How much one file may cost. Every cap of the decoder stands here, with its reason."""

from __future__ import annotations

from dataclasses import dataclass

MB = 2**20


@dataclass(frozen=True)
class Limits:
    """Caps on one file; what passes any of them is refused by name, and the others go on.

    The sizes that a file declares are checked before a pixel is decoded. What it does not declare
    (a stream that inflates, a codec that runs away) meets the memory and the time of the worker
    process. Time is processor time, so that a busy machine does not decide what is trained on,
    and grows with the file: a large mammogram takes seconds, and a bomb is small.
    """

    file_bytes: int = 256 * MB
    """Of the file on disk; also of its pixel data where that is not compressed."""
    inflated_bytes: int = 128 * MB
    """Of a data set that is deflated as a whole (PS3.5 A.5)."""
    frame_pixels: int = 2**26
    """Rows × columns of one image: 8192 × 8192, twice the largest mammogram."""
    total_pixels: int = 2**30
    """Rows × columns × frames."""
    frames: int = 2**14
    """Frames of a file, or pages of a TIFF: where all are read each becomes an image."""
    sequence_depth: int = 32
    """Sequences within sequences; structured reports use about ten."""
    elements: int = 500_000
    """Data elements before the pixels, nested ones included."""
    memory_bytes: int = 1024 * MB
    """Address space of the worker process (RLIMIT_AS; enforced on Linux)."""
    seconds: float = 1.3
    """Processor time for a file of up to 1 MB."""
    seconds_per_mb: float = 1.0
    """Processor time that each further MB adds."""
    most_seconds: float = 60.0

    def seconds_for(self, file_bytes: int) -> float:
        """Processor time that a file of this size may take."""
        beyond = max(0.0, file_bytes / MB - 1)
        return min(self.most_seconds, self.seconds + self.seconds_per_mb * beyond)

    def wall_seconds_for(self, file_bytes: int) -> float:
        """When the worker is given up although its processor time is not spent (a hung disk)."""
        return 30 + 10 * self.seconds_for(file_bytes)


LIMITS = Limits()
