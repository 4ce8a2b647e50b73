"""The file of views: what is written comes back, and nothing else is believed."""

import io

import numpy as np
import pytest

from dreamlift.protocol.errors import ProtocolError
from dreamlift.protocol.view_grid import pack_views, unpack_views

VIEWS = np.arange(2 * 3 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 3, 4, 5, 3)


def saved(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def test_pictures_come_back_and_cannot_be_changed():
    images = unpack_views(pack_views(VIEWS))
    np.testing.assert_array_equal(images, VIEWS)
    with pytest.raises(ValueError):
        images[0] = 0


def test_a_part_of_an_array_is_written_too():
    np.testing.assert_array_equal(unpack_views(pack_views(VIEWS[:, ::2])), VIEWS[:, ::2])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        pack_views(VIEWS)[:-1],
        pack_views(VIEWS) + b"x",
        pack_views(VIEWS).replace(b"(2, 3, 4, 5, 3)", b"(2, 3, 4, 5, 9)"),
        pack_views(VIEWS).replace(b"(2, 3, 4, 5, 3)", b"(9**9**9**9, 3)"),
        pack_views(VIEWS).replace(b"'fortran_order': False", b"'fortran_order': True "),
        pack_views(VIEWS).replace(b"|u1", b"|O8"),
        saved(np.zeros((2, 2, 2, 2, 3), np.float32)),
        saved(np.zeros((2, 2, 2, 3), np.uint8)),
        saved(np.zeros((0, 2, 2, 2, 3), np.uint8)),
        b"\x89PNG\r\n\x1a\n" + bytes(64),
    ],
    ids=range(12),
)
def test_anything_else_is_refused_in_words(data):
    with pytest.raises(ProtocolError) as caught:
        unpack_views(data)
    assert caught.value.code == "bad_buffers" and caught.value.what.endswith(".")
