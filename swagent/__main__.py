"""``python -m swagent``."""

from swagent.cli.main import run

if __name__ == "__main__":
    run()
