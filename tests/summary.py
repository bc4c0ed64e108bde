# SPDX-License-Identifier: Apache-2.0
"""summary.py JUNIT_FILE... -- [FAILED_STEP...]: one line with the sum of all test runners.

A runner that left no file, and a step that failed without a failed test, count as one failure
each: nothing that went wrong may end in a summary that looks well.
"""

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def count(path: Path):
    """(passed, failed, skipped) of one JUnit file."""
    passed = failed = skipped = 0
    for case in ElementTree.parse(path).iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            failed += 1
        elif "skipped" in kinds:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def main(arguments) -> int:
    split = arguments.index("--")
    passed = failed = skipped = 0
    for path in map(Path, arguments[:split]):
        try:
            counts = count(path)
        except (OSError, ElementTree.ParseError) as error:
            print(f"no results of a test runner: {error}")
            counts = (0, 1, 0)
        passed, failed, skipped = (a + b for a, b in zip((passed, failed, skipped), counts))
    for step in arguments[split + 1 :]:
        print(f"failed: {step}")
    failed = max(failed, len(arguments) - split - 1)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
