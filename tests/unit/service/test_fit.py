"""The service refuses what fits none of its workers before it is queued; the handshake says what presets need."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from live_service import LiveService

from dreamlift.memory.cards import GIB
from dreamlift.pipelines.catalog import PIPELINES
from dreamlift.pipelines.context import RequestError
from dreamlift.protocol.messages import Device, JobRequest
from dreamlift.service.commands import Commands
from dreamlift.service.settings import ServiceSettings


def commands(tmp_path, *memories):
    devices = tuple(Device(name=f"Card {k}", state="idle", memory_bytes=size) for k, size in enumerate(memories))
    queue = SimpleNamespace(supervisor=SimpleNamespace(devices=lambda: devices))
    return Commands(ServiceSettings(home=tmp_path), "0" * 32, PIPELINES, None, None, None, queue, None)


def test_what_fits_no_worker_is_refused_with_the_preset_that_does(tmp_path):
    with pytest.raises(RequestError) as caught:
        commands(tmp_path, 2 * GIB, 4 * GIB)._check_memory("mvdream", "full")
    assert caught.value.code == "does_not_fit" and caught.value.suggestion == {"preset": "mini"}
    assert "Card 1" in caught.value.what


@pytest.mark.parametrize("memories", [(2 * GIB, 24 * GIB), (2 * GIB, 0), ()])
def test_what_fits_one_worker_or_may_fit_one_that_has_not_said_hello_is_let_through(tmp_path, memories):
    commands(tmp_path, *memories)._check_memory("mvdream", "full")


def test_the_handshake_says_what_a_preset_needs(tmp_path):
    with LiveService(tmp_path) as service, service.client() as client:
        pipeline = client.welcome.pipelines[0]
        needs = {preset.name: preset.memory_bytes for preset in pipeline.presets}
        client.submit(JobRequest(prompt="steps=1"))
    assert 0 < needs["mini"] < GIB < needs["full"] < 8 * GIB
