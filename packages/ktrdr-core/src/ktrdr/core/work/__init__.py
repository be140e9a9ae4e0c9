"""Progress reports and cancellation of long work."""

from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress, ProgressEvent

__all__ = ["NO_PROGRESS", "Cancellation", "Progress", "ProgressEvent"]
