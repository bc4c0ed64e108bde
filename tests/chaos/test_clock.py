# SPDX-License-Identifier: Apache-2.0
"""A wall clock that steps back and forth under the server: time stamps never go back, nothing
stops, and the administrator is told once."""

from tests.chaos.load import eventually, log_lines, records
from tests.support import ttlv
from tests.support.message import batch_item, create, request, tag

HOUR = 3600


class Witness:
    """A client that looks at every date it gets."""

    def __init__(self, client):
        self.client = client
        self.latest = 0
        self.initial_dates = []

    def ask(self, item):
        answer = ttlv.decode(self.client.exchange(ttlv.encode(request(item))))
        stamp = answer.get(tag("ResponseHeader"), tag("TimeStamp"))
        assert stamp >= self.latest, f"time went back by {self.latest - stamp} s"
        self.latest = stamp
        result = answer.find(tag("BatchItem"))
        assert result.get(tag("ResultStatus")) == 0, result
        return result.find(tag("ResponsePayload"))

    def make_and_read(self):
        made = self.ask(create()).get(tag("UniqueIdentifier"))
        named = ("AttributeName", "Initial Date")
        found = self.ask(batch_item("GetAttributes", ("UniqueIdentifier", made), named))
        date = found.get(tag("Attribute"), tag("AttributeValue"))
        assert date >= max(self.initial_dates, default=0)
        self.initial_dates.append(date)
        return made


def check_audit(server):
    assert "whole" in server.ctl("audit", "verify").stdout
    times = [record["time"] for record in records(server.state)]
    assert times == sorted(times), "a record is older than the one before"


def warnings(server):
    return log_lines(server, "clock stepped back")


def test_clock_steps_back_and_forth(faulty, faults):
    faulty.start()
    with faulty.connect() as client:
        witness = Witness(client)
        made = [witness.make_and_read()]
        before = witness.latest
        faults.move_clock(-HOUR)
        for _ in range(20):
            made.append(witness.make_and_read())
        assert witness.latest - before < 60
        eventually(lambda: warnings(faulty))
        faulty.ctl("adapter", "create", "meanwhile")
        assert "clock" in faulty.ctl("status").stdout
        with faulty.connect() as newcomer:  # TLS works, and sessions resume or do not
            Witness(newcomer).make_and_read()
        faults.move_clock(0)
        eventually(lambda: log_lines(faulty, "clock has caught up"))
        made.append(witness.make_and_read())
        assert witness.latest > before, "time stands still though the clock goes"
        faults.move_clock(HOUR)
        made.append(witness.make_and_read())
        assert witness.latest >= before + HOUR - 60
        faults.move_clock(0)
        for _ in range(20):
            made.append(witness.make_and_read())
        assert len(set(made)) == len(made)
        eventually(lambda: len(warnings(faulty)) == 2)
        assert all("NTP" in line for line in warnings(faulty))
        for identifier in made:
            witness.ask(batch_item("Get", ("UniqueIdentifier", identifier)))
    check_audit(faulty)


def test_clock_stands_before_the_last_run(faulty, faults):
    """The records of two runs are told apart by their order, not by their time; it is said."""
    faulty.start()
    with faulty.connect() as client:
        made = Witness(client).make_and_read()
    faulty.stop()
    faults.move_clock(-HOUR)
    faulty.start()
    with faulty.connect() as client:
        Witness(client).ask(batch_item("Get", ("UniqueIdentifier", made)))
        Witness(client).make_and_read()
    assert len(log_lines(faulty, "before the time of the last run")) == 1
    assert "whole" in faulty.ctl("audit", "verify").stdout
