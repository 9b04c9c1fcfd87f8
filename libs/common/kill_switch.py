"""Read the kill switch in the one way that all its readers share: what can't be read is on."""

import asyncio

import msgspec

from libs.common.bus import Bus, BusError
from libs.common.messages import KillSwitch
from libs.common.topology import KILL_SWITCH_KEY

BUCKET = "control"
_decoder = msgspec.json.Decoder(KillSwitch)


class KillSwitchUnreadable(Exception):
    """Nobody can tell whether the switch is engaged, so it counts as engaged; says why."""


def decode_kill_switch(data: bytes) -> KillSwitch:
    """Return the stored value; raise `KillSwitchUnreadable` for anything else."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise KillSwitchUnreadable(f"unreadable, counts as engaged: {error}") from None


async def read_kill_switch(bus: Bus, timeout_s: float) -> KillSwitch:
    """Return the switch as it is stored; raise `KillSwitchUnreadable`, for an absent one too."""
    try:
        async with asyncio.timeout(timeout_s):
            found = await bus.get(BUCKET, KILL_SWITCH_KEY)
    except (BusError, TimeoutError, OSError) as error:
        raise KillSwitchUnreadable(
            f"unreadable, counts as engaged: {type(error).__name__} {error}"
        ) from None
    if found is None:
        raise KillSwitchUnreadable("never set, counts as engaged")
    return decode_kill_switch(found.data)
