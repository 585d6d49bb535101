"""swagent: the update agent of an embedded device, and what an integrator needs around it."""

__version__ = "0.1.0"
