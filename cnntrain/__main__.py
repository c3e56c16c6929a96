"""``python -m cnntrain``: the same as the command ``cnntrain``."""

import sys

from cnntrain.cli import main

if __name__ == "__main__":
    sys.exit(main())
