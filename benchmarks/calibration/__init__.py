"""Parts of the calibration of verdicts: its worlds, their verdicts, the work on two processes, and the tables."""
