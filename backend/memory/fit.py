"""Refusing what does not fit before it starts, in words an artist can act on.

Knows plans and cards. Knows no torch, so that the service and the command line may ask.
"""

from __future__ import annotations

from dreamlift.pipelines.context import RequestError

from .cards import GIB, Card
from .plan import Plan, least_bytes, plan_for
from .workloads import WORKLOADS


def plan_or_refuse(pipeline: str, preset: str, card: Card) -> Plan | None:
    """The plan of a request on a device.

    Args:
        pipeline: Name in the catalog.
        preset: One of its presets.
        card: The device.

    Returns:
        The roomiest plan that fits; None where nothing is known of the preset's memory.

    Raises:
        RequestError: "does_not_fit", with the preset that does as its suggestion, where there is one.
    """
    if (pipeline, preset) not in WORKLOADS:
        return None
    plan = plan_for(pipeline, preset, card)
    if plan is None:
        raise refusal(pipeline, preset, card)
    return plan


def refusal(pipeline: str, preset: str, card: Card) -> RequestError:
    """The error for a preset that is too large for a card; arguments as in `plan_or_refuse`."""
    needed = least_bytes(pipeline, preset, card) / GIB
    what = (
        f"Preset {preset!r} needs about {needed:.1f} GiB even when it saves memory, and {card.name} has"
        f" {card.usable_bytes / GIB:.1f} GiB for it."
    )
    fitting = fitting_presets(pipeline, card)
    if not fitting:
        return RequestError("does_not_fit", what, "Run it on a device with more memory, or close other programs.")
    remedy = f"Use preset {fitting[0]!r}, or a device with more memory."
    return RequestError("does_not_fit", what, remedy, {"preset": fitting[0]})


def fitting_presets(pipeline: str, card: Card) -> list[str]:
    """Presets of a pipeline that fit a card, the most demanding first.

    Args:
        pipeline: Name in the catalog.
        card: The device.
    """
    plans = {preset: plan_for(name, preset, card) for name, preset in WORKLOADS if name == pipeline}
    return sorted((name for name, plan in plans.items() if plan), key=lambda name: -plans[name].need_bytes)
