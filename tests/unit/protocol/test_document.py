"""docs/protocol.md and the code say the same: message types, fields, defaults, buffers, error codes, bytes."""

from __future__ import annotations

import dataclasses
import re

import pytest
import wire_examples

from dreamlift.protocol import codec, messages
from dreamlift.protocol.errors import CODES
from dreamlift.protocol.limits import PROTOCOL_VERSION
from dreamlift.protocol.states import MOVES, JobState

DOCUMENT = wire_examples.DOCUMENT.read_text(encoding="utf-8")
SECTIONS = wire_examples.sections(DOCUMENT)
KNOWN = {**messages.FROM_CLIENT, **messages.FROM_SERVER}


def test_the_document_describes_every_message_and_no_other():
    assert set(SECTIONS) == set(KNOWN)


def test_there_is_one_example_of_every_message():
    assert sorted(example[0].TYPE for example in wire_examples.EXAMPLES) == sorted(KNOWN)


@pytest.mark.parametrize("kind", sorted(KNOWN))
def test_every_field_and_buffer_of_a_message_is_described(kind):
    for field in dataclasses.fields(KNOWN[kind]):
        assert re.search(rf"\b{field.name}\b", SECTIONS[kind]), f"{kind}.{field.name} is not in its section"


@pytest.mark.parametrize("example", wire_examples.EXAMPLES, ids=lambda example: example[0].TYPE)
def test_the_hex_example_of_a_section_decodes_to_the_message(example):
    message, identity, job, sequence = example
    blocks = re.findall(r"```hex\n(.*?)```", SECTIONS[message.TYPE], re.DOTALL)
    assert len(blocks) == 1
    frames = [bytes.fromhex(line) for line in blocks[0].splitlines()]
    known = messages.FROM_CLIENT if message.TYPE in messages.FROM_CLIENT else messages.FROM_SERVER
    envelope = codec.decode(frames, known)
    assert (envelope.id, envelope.job, envelope.sequence) == (identity, job, sequence)
    assert type(envelope.message) is type(message)
    assert envelope.message.to_body() == message.to_body()
    assert wire_examples.hex_block(example) in SECTIONS[message.TYPE], "run wire_examples.py"


def test_direction_marks_agree_with_the_tables():
    for kind, section in SECTIONS.items():
        mark = section.splitlines()[1]
        both = kind in messages.FROM_CLIENT and kind in messages.FROM_SERVER or kind == "pong"
        wanted = "Either way" if both else "`->`" if kind in messages.FROM_CLIENT else "`<-`"
        assert mark.startswith(wanted), f"{kind}: {mark}"


def test_error_codes_are_those_of_the_code():
    table = dict(re.findall(r"^\| `([a-z_]+)` \| (.+) \|$", DOCUMENT.split("## 9.")[1], re.MULTILINE))
    assert table == CODES


def test_the_document_has_the_codes_version():
    assert DOCUMENT.startswith(f"# The wire protocol, version {PROTOCOL_VERSION}\n")
    assert re.search(rf"^- \*\*{PROTOCOL_VERSION}\*\*", DOCUMENT, re.MULTILINE)


def test_every_state_is_drawn():
    drawing = DOCUMENT.split("## 5.")[1].split("## 6.")[0]
    for state in JobState:
        assert state.value in drawing
    assert set(MOVES) == set(JobState)
