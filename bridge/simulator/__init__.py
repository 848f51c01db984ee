"""A strict AllTick WebSocket server: `tickbridge simulate` for people, the class `Simulator` for tests.

It follows the vendor's documents to the letter, refuses what they forbid, and has a switch for each behaviour
that they leave open, so that a client is not tested against one guess only. It imports nothing else of bridge.

In a test, with every duration ten times shorter and ticks only when asked for:

    config = SimulatorConfig(plan="free", time_scale=0.1, switches=Switches(rate=0, refused="clear"))
    with Simulator(config) as sim:
        url = f"{sim.url()}?token={DEFAULT_TOKEN}"          # sim.url("other") for forex and crypto
        ...                                                 # a client connects and subscribes
        sim.wait_until_subscribed("700.HK")
        tick = sim.tick_now("700.HK", price="512.500000")   # written before the call returns
        sim.switches.mute = True                            # behaviour that lasts: see `switches`
        sim.switches.update(duplicates=0.1, reordered=0.1)
        sim.faults.reset()                                  # what happens once: reset, cut, close,
        sim.faults.answer_next(603)                         # answer_next, send_rubbish, send_raw
        sim.wait_for(lambda record: record.connections[0].closed_at, timeout=2)
        assert [r.codes for r in sim.requests(cmd_id=22004)] == [("700.HK",)]
        assert sim.sent("700.HK") == [tick.seq]
        assert sim.record.ticks("700.HK")[0].fate == "sent"     # the others are absent or withheld
        assert not sim.record.violations and not sim.record.overlaps

`SimulatorConfig(dialect="action-code")` or `"action-symbols"` makes it speak one of the dialects that add codes and
take them away; requests are recorded under 22004 (subscribe) and 22006 (unsubscribe), pings as heartbeats.

Recorded times are Unix seconds. Durations in switches and in the configuration are the venue's and are
multiplied by `time_scale`. `sim.stop()` and `sim.start()` make an outage: port, market and record stay.
"""

from bridge.simulator.config import PLANS, SimulatorConfig
from bridge.simulator.facts import ConnectionRecord, RequestRecord
from bridge.simulator.protocol import Tick
from bridge.simulator.record import Record
from bridge.simulator.simulator import Simulator
from bridge.simulator.switches import DEFAULT_TOKEN, SwitchError, Switches
from bridge.simulator.ticklog import IncompleteRecordError, VenueTick

__all__ = [
    "DEFAULT_TOKEN",
    "PLANS",
    "ConnectionRecord",
    "IncompleteRecordError",
    "Record",
    "RequestRecord",
    "Simulator",
    "SimulatorConfig",
    "SwitchError",
    "Switches",
    "Tick",
    "VenueTick",
]
