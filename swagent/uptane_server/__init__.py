"""The back office of a fleet: Image repository, Director, Time server."""
