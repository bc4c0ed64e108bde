# SPDX-License-Identifier: Apache-2.0
"""The OASIS test cases, against the running server.

`test_profile`: every case of the symmetric key life cycle, symmetric key foundry and opaque object
profiles of 1.0 to 1.4. `test_within_scope`: every other case of the profiles and test-case
documents whose requests use nothing but what this server does. `test_in_order`: families whose
later cases go on with what the earlier ones made. Each run has names of its own, so that cases
neither see each other nor an earlier run.
"""

import re
from pathlib import Path
from typing import Dict, List

import pytest

from tests.conformance.runner import Mismatch, Runner, unique_prefix
from tests.conformance.selection import groups_assumed, reasons_against
from tests.support.kmipxml import Case, Reader
from tests.support.message import WORDS, ask, attribute, create
from tests.support.paths import OASIS, need_vectors

need_vectors(OASIS)

PROFILES = re.compile(r"(SKLC|SKFF|OMOS)-")
CONTINUED = re.compile(r"(SASED|TL)-")
WAITING_SCALE = 1 / 40  # cases that wait two minutes for a date wait three seconds

READER = Reader(WORDS)


def order(path: Path) -> List:
    """TL-M-10 comes after TL-M-2."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.stem)]


def cases() -> List[Case]:
    return [
        READER.read(path)
        for version in sorted(OASIS.glob("1.*"))
        for folder in sorted(version.iterdir())
        for path in sorted(folder.glob("*.xml"), key=order)
    ]


def label(case: Case) -> str:
    return f"{case.path.parts[-3]}-{case.name[:40]}"


ALL = cases()
OF_PROFILES = [case for case in ALL if PROFILES.match(case.name)]
WITHIN_SCOPE = [
    case
    for case in ALL
    if not PROFILES.match(case.name)
    and not CONTINUED.match(case.name)
    and not reasons_against(case, WORDS)
]


def families() -> Dict[str, List[Case]]:
    """Cases that belong together, in their order, by version and name."""
    found: Dict[str, List[Case]] = {}
    for case in ALL:
        match = CONTINUED.match(case.name)
        if match and not reasons_against(case, WORDS):
            found.setdefault(f"{case.path.parts[-3]}-{match.group(1)}", []).append(case)
    return found


FAMILIES = families()


def scale(case: Case) -> float:
    return WAITING_SCALE if any(exchange.repeat for exchange in case.exchanges) else 1.0


def run(server, case: Case, prefix: str, context=None) -> None:
    context = context or server.context()
    runner = Runner(WORDS, lambda: server.connect(context), prefix, scale(case))
    try:
        runner.run(case)
    except Mismatch as mismatch:
        pytest.fail(f"{case.path}\n{mismatch}", pytrace=False)


def provide(server, case: Case, prefix: str) -> None:
    """Makes the objects that a case takes for granted."""
    for group in groups_assumed(case, WORDS):
        with server.connect() as client:
            ask(client, create(attribute("Object Group", prefix + group))).only().succeeded()


@pytest.mark.parametrize("case", OF_PROFILES, ids=label)
def test_profile(kmipd, case):
    run(kmipd, case, unique_prefix())


@pytest.mark.parametrize("case", WITHIN_SCOPE, ids=label)
def test_within_scope(kmipd, case):
    prefix = unique_prefix()
    provide(kmipd, case, prefix)
    run(kmipd, case, prefix)


@pytest.mark.parametrize("family", FAMILIES)
def test_in_order(kmipd, tenant, family):
    """In an adapter of its own: some look for what no prefix tells apart."""
    prefix = unique_prefix()
    for case in FAMILIES[family]:
        run(kmipd, case, prefix, tenant)


def test_can_be_repeated(kmipd):
    """A second run on the same server must not meet the first one's objects."""
    case = next(case for case in OF_PROFILES if case.name == "SKFF-M-5-14")
    run(kmipd, case, unique_prefix())
    run(kmipd, case, unique_prefix())


def test_selection_is_complete():
    """A change of the selection shows here: nothing falls out unnoticed."""
    assert len(OF_PROFILES) >= 90
    assert all(not reasons_against(case, WORDS) for case in OF_PROFILES)
    assert len(WITHIN_SCOPE) + sum(map(len, FAMILIES.values())) >= 83
