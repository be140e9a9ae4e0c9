"""From a job to its result: the wiring of stores, plugins and engines."""
