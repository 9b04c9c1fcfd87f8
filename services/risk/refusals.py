"""Why an override is refused, for the one who gave it: expected, came, what to do. Pure."""

from collections.abc import Collection
from typing import Literal

from libs.common.messages import FeeRules, Override
from libs.domain.eastern import NS_PER_S, utc_text
from libs.domain.families import UnknownFamilyError, family_of_series

Refusal = Literal[
    "",
    "no_operator_key",
    "forged",
    "expired",
    "not_yet",
    "too_long",
    "replayed",
    "unusable",
    "unpublished",
    "full",
]


def unusable(override: Override, stages: Collection[str]) -> str:
    """Return why scope and value mean nothing for this kind, "" if they do.

    `stages` are those of the size ladder, by the policy.
    """
    if override.scope:
        try:
            family_of_series(override.scope)
        except UnknownFamilyError:
            return f"expected a series such as KXINXU, got {override.scope!r}; see `alpha windows`"
    if override.kind == "lift_panic":
        if override.scope:
            return f"expected no series, got {override.scope!r}; the latch is one for all"
        return ""
    if override.kind == "acknowledge_fee_rules":
        if not override.scope or not override.value:
            given = f"{override.scope!r} and {override.value!r}"
            return (
                f"expected a series and the hash of its facts, got {given};"
                " the fee_rules gate shows both"
            )
        return ""
    if override.value not in stages:
        known = ", ".join(sorted(stages))
        return f"expected one of {known}, got {override.value!r}; give one of them"
    return ""


def unpublished(override: Override, known: FeeRules | None) -> str:
    """Return why these fee facts can't be acknowledged, "" if they are what is published."""
    if override.kind != "acknowledge_fee_rules":
        return ""
    if known is None:
        return (
            f"expected facts that were read, none of {override.scope} has come,"
            f" got {override.value}; wait until feeds has read them"
        )
    if override.value != known.facts_hash:
        return (
            f"expected {known.facts_hash}, which is published of {override.scope}"
            f" ({known.fee_type} × {known.fee_multiplier:g}, {len(known.changes)} changes),"
            f" got {override.value}; read what changed and give that hash"
        )
    return ""


def explained(
    refusal: Refusal,
    override: Override,
    now_ns: int,
    *,
    operator_key: str,
    lifetime_ns_max: int,
    known: FeeRules | None,
    stages: Collection[str],
) -> str:
    """Return what was expected, what came and what to do; "" when nothing was refused."""
    match refusal:
        case "":
            return ""
        case "no_operator_key":
            return (
                "expected operator_key in configs/risk.yaml, found none; make one with"
                " `alpha override keygen --out FILE`, put the line it prints there, start again"
            )
        case "forged":
            return (
                f"expected the signature of the key {operator_key[:8]}…, got another's or of other"
                " words; give --key-file with the operator's private key"
            )
        case "expired":
            return (
                f"expected one that ends after {utc_text(now_ns)}, got"
                f" {utc_text(override.expires_ns)}; give it anew"
            )
        case "not_yet":
            return (
                f"expected one that was given by {utc_text(now_ns)}, got"
                f" {utc_text(override.issued_ns)}; set this machine's clock and give it anew"
            )
        case "too_long":
            given_s = (override.expires_ns - override.issued_ns) / NS_PER_S
            return (
                f"expected at most {lifetime_ns_max / NS_PER_S / 3_600:g} h"
                f" (risk.yaml: override_s_max), got {given_s / 3_600:g} h; give fewer --hours"
            )
        case "replayed":
            return (
                f"expected one that was not used, {override.nonce} was; give it anew,"
                " each has a number of its own"
            )
        case "unusable":
            return unusable(override, stages)
        case "unpublished":
            return unpublished(override, known)
        case "full":
            return "expected room for one more, found none; wait until one in force has ended"
