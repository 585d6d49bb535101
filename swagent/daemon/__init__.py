"""``swagent daemon``: the one process with rights on devices, and the unprivileged ones that it starts and watches."""
