"""Which files of `configs/` hold the policy of which service: one YAML per concern.

A service reads all of its files over each other, so a contradiction in one is refused by every
service that reads it. `alpha config show --explain` prints them.
"""

from pathlib import Path

from libs.common.topology import Service

CONFIGS = Path(__file__).resolve().parents[2] / "configs"

_BESIDE: dict[Service, tuple[str, ...]] = {
    Service.PRICER: ("index_ops",),
    Service.BROKER: ("index_ops",),
    Service.RISK: (
        "limits",
        "freshness",
        "index_ops",
        "quality_gates",
        "pal_policy",
        "portfolio",
        "correlation",
        "regimes",
        "size_ladder",
        "pilot",
    ),
    Service.MONITORS: ("limits", "index_ops", "freshness"),
}
"""What a service reads beside the file of its own name."""


def policy_files(service: Service) -> tuple[Path, ...]:
    """Return a service's policy files, in the order in which they are read."""
    return tuple(CONFIGS / f"{name}.yaml" for name in (service, *_BESIDE.get(service, ())))


def config_arguments(service: Service, own: Path) -> tuple[str, ...]:
    """Return the words that make a service read its policy, and a run's own file over it."""
    return tuple(word for path in (*policy_files(service), own) for word in ("--config", str(path)))
