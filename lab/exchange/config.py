"""Configuration of the exchange simulator: frozen, unknown fields refused."""

from typing import Literal

from msgspec import Struct, structs

from lab.exchange.faults import Fault
from lab.exchange.ladders import LadderConfig
from lab.exchange.model import NS_PER_S, Rules
from libs.common.clock import ClockSpec
from libs.domain.fee_table import EXCHANGE_FEES, EventFeeOverride, FeeChange, FeeTable

Tier = Literal["basic", "advanced", "expert", "premier", "paragon", "prime", "prestige"]


class ExchangeConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that one simulated exchange needs to know.

    `keys_dir` holds `<key id>.pub.pem` per key; `accounts` names the account of a key where it is
    not the key's own. `truth_path` is a new file for the truth log. Flow steps and settlements
    happen on a grid of `step_ms` of the clock's time. With `wall_signatures` a request may be
    signed at the system's time too: clients of others cannot follow a scaled clock. `faults` are
    in force from the start; with `admin_port` (0: a free one) more can be asked for on loopback.
    """

    keys_dir: str
    truth_path: str
    host: str = "127.0.0.1"
    port: int = 0
    seed: int = 0
    tier: Tier = "advanced"
    clock: ClockSpec = ClockSpec()
    ladders: tuple[LadderConfig, ...] = ()
    accounts: dict[str, str] = {}
    balance_e6: int = 10_000_000_000
    step_ms: int = 250
    settlement_timer_s: float = 5.0
    skew_past_s: float = 30.0
    skew_future_s: float = 60.0
    wall_signatures: bool = False
    reads_per_s: float = 4.0
    queue_frames_max: int = 10_000
    ping_s: float = 10.0
    direct_members: bool = True
    fee_changes: tuple[FeeChange, ...] = ()
    fee_overrides: tuple[EventFeeOverride, ...] = ()
    netting: bool = False
    history_kept_s: float = 14 * 86_400.0
    faults: tuple[Fault, ...] = ()
    admin_port: int | None = None
    admin_token_file: str = ""
    close_cancel_s: float = 0.0
    listing_delay_s: float = 0.0
    cancel_all_lingers_s: float = 0.0
    weekly_pause: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"port: expected 0 to 65535, got {self.port}")
        if self.admin_port is not None:
            if not 0 <= self.admin_port <= 65_535:
                raise ValueError(f"admin_port: expected 0 to 65535, got {self.admin_port}")
            if not self.admin_token_file:
                raise ValueError("admin_token_file: expected a file beside admin_port, got none")
        if not 1 <= self.step_ms <= 60_000:
            raise ValueError(f"step_ms: expected 1 to 60000, got {self.step_ms}")
        if self.skew_past_s < 10 or self.skew_future_s < 10:
            raise ValueError("skew_past_s, skew_future_s: expected at least 10 seconds")
        if self.balance_e6 < 0 or self.settlement_timer_s < 0:
            raise ValueError("balance_e6, settlement_timer_s: expected no negative value")
        self.rules()
        if self.queue_frames_max < 16 or self.ping_s <= 0 or self.reads_per_s <= 0:
            raise ValueError("queue_frames_max >= 16, ping_s > 0 and reads_per_s > 0 expected")

    def fee_table(self) -> FeeTable:
        """Return the dated fees of everything listed."""
        return structs.replace(
            EXCHANGE_FEES,
            changes=(*EXCHANGE_FEES.changes, *self.fee_changes),
            overrides=(*EXCHANGE_FEES.overrides, *self.fee_overrides),
        )

    def rules(self) -> Rules:
        """Return the engine's part of it. Raises ValueError."""
        return Rules(
            direct_members=self.direct_members,
            history_kept_ns=round(self.history_kept_s * NS_PER_S),
            close_cancel_ns=round(self.close_cancel_s * NS_PER_S),
            listing_delay_ns=round(self.listing_delay_s * NS_PER_S),
            cancel_all_lingers_ns=round(self.cancel_all_lingers_s * NS_PER_S),
            weekly_pause=self.weekly_pause,
        )
