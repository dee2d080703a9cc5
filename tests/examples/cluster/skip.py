"""How a test says that what it needs is not there."""

import sys

SKIPPED = 77  # what ctest shows as skipped


def skip(why):
    print("*" * 72, f"SKIPPED: {why}", "*" * 72, sep="\n", flush=True)
    sys.exit(SKIPPED)
