"""``python -m swagent``."""

import sys

from swagent.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
