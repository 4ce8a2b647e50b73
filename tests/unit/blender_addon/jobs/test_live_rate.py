"""The live object changes as often as asked, less where the machine cannot keep up."""

from __future__ import annotations

from blender_addon.jobs.live_rate import LONGEST_PAUSE, LiveRate


def test_a_fast_machine_gets_the_asked_rate():
    rate = LiveRate(2.0)
    assert rate.due(0.0)
    rate.applied(0.0, 0.005)
    rate.redrawn(0.01)
    assert not rate.due(0.49) and rate.due(0.5)


def test_a_slow_redraw_lowers_the_rate():
    rate = LiveRate(2.0)
    for k in range(20):
        rate.applied(float(k), 0.1)
        rate.redrawn(0.4)
    assert rate.pause > 1.0, "0.5 s of work may take a quarter of the time"
    for k in range(20):
        rate.applied(float(k), 0.001)
        rate.redrawn(0.0)
    assert rate.pause == 0.5, "and it comes back"


def test_it_never_stops_altogether():
    rate = LiveRate(2.0)
    for k in range(50):
        rate.applied(float(k), 30.0)
    assert rate.pause == LONGEST_PAUSE
