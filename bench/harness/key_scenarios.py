# SPDX-License-Identifier: Apache-2.0
"""What root keys in another process, in an HSM or in a distant service cost."""

import subprocess
import time
from contextlib import ExitStack

from .key_managers import SEALED_FILE, key_protect, soft_hsm
from .measurement import Measurement, compare
from .processes import Failure, Kmipd, Load, RoundTrips
from .scenarios import _count, create_keys, serve_all_once
from .statistics import summarize, summarize_ratios

LATENCY = 20  # of the stand-in for Key Protect, in milliseconds
COLD_KEYS = 1_000
WARMING_CONNECTIONS = 8
WARMING_SLICE_MS = 500
REWRAP_WRITERS = 16


def before(context):
    """Get by this kmipd and by an earlier one (--before), over kept connections."""
    if context.kmipd is None or context.before is None:
        return []
    results = []
    with ExitStack() as stack:
        servers = {
            "kmipd": stack.enter_context(context.start_kmipd()),
            "before": stack.enter_context(Kmipd(
                context.programs, context.before, context.fresh("before") / "state",
                name="before", admin=False))}
        for keys in (1, context.effort.many_keys):
            ids = {name: create_keys(context, server, keys) for name, server in servers.items()}
            for name, server in servers.items():
                serve_all_once(context, server, ids[name])
            for connections in context.effort.connections:
                with ExitStack() as loads:
                    slices = context.turns({
                        name: loads.enter_context(Load(context.programs, server, "get",
                                                       connections, ids=ids[name]))
                        for name, server in servers.items()})
                title = f"{_count(keys, 'key')}, {_count(connections, 'connection')}"
                results.append(compare("before", title, slices, "kmipd", "before"))
    return results


def _start(context, stack, manager, name, cached, **settings):
    return stack.enter_context(
        context.start_kmipd(name=name, **manager.options(cached, **settings)))


def _cold_row(name, connections, slices):
    row = compare("cold", f"{name}, {_count(connections, 'connection')}", slices, name, "warm")
    over = [cold.metrics()["p50_us"] - warm.metrics()["p50_us"]
            for cold, warm in zip(slices[name], slices["warm"], strict=True)]
    row.values["over_us"] = {name: summarize(over)}
    row.notes["connections"] = connections
    if name == "key-protect":
        # What there would be if nobody waited for anything but the stand-in.
        ideal = connections * 1000 / LATENCY
        row.shares["in_flight"] = summarize(part.metrics()["rate"] / ideal
                                            for part in slices[name])
    return row


def cold(context):
    """Get of keys that are not held ready, by key manager, against Get of those that are."""
    if context.kmipd is None:
        return []
    results = []
    with ExitStack() as stack:
        stand_in, service = key_protect(context, stack, 0)
        servers = {
            "warm": _start(context, stack, SEALED_FILE, "warm", True),
            "keyholder": _start(context, stack, SEALED_FILE, "keyholder", False),
            "pkcs11": _start(context, stack, soft_hsm(context.fresh("softhsm")), "pkcs11", False),
            "key-protect": _start(context, stack, service, "key-protect", False, warm="no",
                                  store_wrapped_keys="no")}
        ids = {name: create_keys(context, server, COLD_KEYS) for name, server in servers.items()}
        for name, server in servers.items():
            serve_all_once(context, server, ids[name])
        stand_in.set_latency(LATENCY)
        for connections in context.effort.cold_connections:
            with ExitStack() as loads:
                slices = context.turns({
                    name: loads.enter_context(Load(context.programs, server, "get", connections,
                                                   ids=ids[name]))
                    for name, server in servers.items()})
            results += [_cold_row(name, connections, slices) for name in servers if name != "warm"]
    return results


def creates(context):
    """Create by key manager, against the sealed file."""
    if context.kmipd is None:
        return []
    results = []
    with ExitStack() as stack:
        _, service = key_protect(context, stack, LATENCY)
        servers = {
            "keyholder": _start(context, stack, SEALED_FILE, "keyholder", True),
            "pkcs11": _start(context, stack, soft_hsm(context.fresh("softhsm")), "pkcs11", True),
            "key-protect": _start(context, stack, service, "key-protect", True, warm="no",
                                  store_wrapped_keys="no"),
            "key-protect, recorded": _start(context, stack, service, "key-protect, recorded", True,
                                            warm="no")}
        for connections in context.effort.cold_connections:
            with ExitStack() as loads:
                slices = context.turns({
                    name: loads.enter_context(Load(context.programs, server, "create",
                                                   connections))
                    for name, server in servers.items()})
            results += [compare("creates", f"{name}, {_count(connections, 'connection')}", slices,
                                name, None if name == "keyholder" else "keyholder")
                        for name in servers]
    return results


def _warm_up(load, stand_in, keys, begun):
    """Slices of the load while a server that has just been started fetches its keys, until it has
    them all; when that was, by the monotonic clock; and how many it fetched. begun: what the
    stand-in had unwrapped before."""
    slices = []
    seen = begun
    while True:
        at = time.monotonic()
        part = load.run(WARMING_SLICE_MS)
        now = stand_in.unwraps()
        if now == seen and now - begun >= keys:
            return slices, at, now - begun
        if now == seen:
            raise Failure(f"{now - begun} of {keys} keys were fetched, and no more")
        seen = now
        slices.append(part)


def _restarted(context, service, state, cached, **settings):
    return Kmipd(context.programs, context.kmipd, state,
                 **service.options(cached, store_wrapped_keys="no", **settings))


def _warming_row(keys, slices, trips, seconds, fetched):
    """slices, trips: of the time without warming and of that with it. A share is formed with the
    round trips of the same time: the stand-in is slower while it is asked for all."""
    row = Measurement("warming", f"{keys:,} keys, {WARMING_CONNECTIONS} connections", "warming",
                      "round trip")
    for metric, quantile in (("p50_us", "p50"), ("p99_us", "p99"), ("max_us", "max")):
        clients = {name: [part.metrics()[metric] for part in slices[name]] for name in slices}
        row.values[metric] = {name: summarize(values) for name, values in clients.items()}
        row.values[metric]["round trip"] = summarize([trips["warming"].latency_us()[quantile]])
        row.shares[metric] = summarize_ratios(
            [trips["warming"].latency_us()[quantile]] * len(clients["warming"]), clients["warming"])
    row.values["seconds"] = {"warming": summarize([seconds])}
    row.values["rate"] = {"warming": summarize([keys / seconds])}
    row.notes |= {"keys": keys, "fetched": fetched,
                  "round trip without warming": trips["not warming"].latency_us()}
    return row


def warming(context):
    """A restart with keys in a distant service: how long until all are held ready, and what
    clients wait meanwhile, against round trips of the same time."""
    if context.kmipd is None:
        return []
    keys = context.effort.warmed
    state = context.fresh("warming") / "state"
    slices, trips = {}, {}
    with ExitStack() as stack:
        stand_in, service = key_protect(context, stack, 0)
        with _restarted(context, service, state, True, warm="no") as kmipd:
            ids = create_keys(context, kmipd, keys)
            serve_all_once(context, kmipd, ids)
        stand_in.set_latency(LATENCY)
        with _restarted(context, service, state, False, warm="no") as kmipd, \
                Load(context.programs, kmipd, "get", WARMING_CONNECTIONS, ids=ids) as load, \
                RoundTrips(stand_in) as trips["not warming"]:
            load.run(WARMING_SLICE_MS)
            slices["not warming"] = [load.run(WARMING_SLICE_MS)
                                     for _ in range(context.effort.rounds)]
        with RoundTrips(stand_in) as trips["warming"]:
            begun, unwraps = time.monotonic(), stand_in.unwraps()
            with _restarted(context, service, state, True) as kmipd, \
                    Load(context.programs, kmipd, "get", WARMING_CONNECTIONS, ids=ids) as load:
                slices["warming"], end, fetched = _warm_up(load, stand_in, keys, unwraps)
    return [_warming_row(keys, slices, trips, end - begun, fetched)]


def _kmipctl(context, server, *words):
    done = subprocess.run([context.kmipd.parent / "kmipctl", "--state", server.state, *words],
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"kmipctl {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def _rotate(context, server, load):
    """Rotates and waits until all is rewrapped, while the load goes on. Returns its slices, the
    seconds, and the processor's seconds of the server."""
    slices = []
    used = server.cpu_seconds()
    begun = time.monotonic()
    with subprocess.Popen([context.kmipd.parent / "kmipctl", "--state", server.state, "root-key",
                           "rotate", "default", "--wait"], stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            if load is None:
                time.sleep(0.01)
            else:
                slices.append(load.run(context.effort.slice_ms))
        seconds = time.monotonic() - begun
        if process.returncode != 0:
            raise Failure(f"kmipctl root-key rotate: {process.stderr.read().strip()}")
    return slices, seconds, server.cpu_seconds() - used


def rewrap(context):
    """Rewrapping by a running server after a rotation, alone and beside clients that create."""
    if context.kmipd is None:
        return []
    count = context.effort.rewrapped
    with context.start_kmipd() as kmipd:
        create_keys(context, kmipd, count)
        quiet = [_rotate(context, kmipd, None) for _ in range(3)]
        with Load(context.programs, kmipd, "create", REWRAP_WRITERS) as load:
            load.run(context.effort.slice_ms)
            alone = [load.run(context.effort.slice_ms) for _ in range(context.effort.rounds)]
            during, seconds, _ = _rotate(context, kmipd, load)
    row = Measurement("rewrap", f"{count:,} objects", "alone")
    row.values["rate"] = {"alone": summarize(count / spent for _, spent, _ in quiet)}
    row.values["server_cpu_us"] = {"alone": summarize(used / count * 1e6 for _, _, used in quiet)}
    beside = Measurement("rewrap", f"{count:,} objects, beside {REWRAP_WRITERS} that create",
                         "beside")
    beside.values["rate"] = {"beside": summarize([count / seconds])}
    for metric in ("p50_us", "p99_us"):
        beside.values["create_" + metric] = {
            "beside": summarize(part.metrics()[metric] for part in during),
            "before": summarize(part.metrics()[metric] for part in alone)}
    return [row, beside]


KEY_SCENARIOS = {
    "before": before,
    "cold": cold,
    "creates": creates,
    "warming": warming,
    "rewrap": rewrap,
}
