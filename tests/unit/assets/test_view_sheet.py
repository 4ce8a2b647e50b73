"""The sheet shows every view of every seed at its place; single files are the pictures themselves."""

import numpy as np
from PIL import Image

from dreamlift.assets.view_sheet import view_sheet, write_views
from dreamlift.pipelines.context import Provenance, SeedViews


def views(seeds=(3, 7), names=("front", "right", "back", "left"), size=64) -> SeedViews:
    """Every picture of one colour of its own."""
    images = np.zeros((len(seeds), len(names), size, size, 3), np.uint8)
    for row in range(len(seeds)):
        for column in range(len(names)):
            images[row, column] = (40 * row + 10, 10 * column + 10, 200)
    provenance = Provenance("mvdream", "mini", "a red mushroom", "", seeds[0], "mini", "CC0-1.0", True, "0", 1.0)
    return SeedViews(images, tuple(names), tuple(seeds), provenance)


def test_every_picture_is_at_its_place():
    shown, sheet = views(), view_sheet(views(), tile=100)
    line = 18
    assert sheet.shape == (line + 2 * (100 + line) + line, 400, 3)
    for row in range(2):
        for column in range(4):
            middle = sheet[line + row * (100 + line) + 50, column * 100 + 50]
            assert tuple(middle) == tuple(shown.images[row, column, 0, 0])


def test_there_is_something_written_under_every_row_and_a_long_prompt_stays_inside():
    sheet = view_sheet(views(), tile=100)
    for row in range(2):
        top = 18 + row * 118 + 100
        assert sheet[top : top + 18].min() < 100
    assert not np.array_equal(view_sheet(views((3, 7)), 100), view_sheet(views((3, 8)), 100)), "the seed is readable"


def test_an_orbit_of_eighteen_fits_a_screen():
    names = tuple(f"{20 * k} degrees" for k in range(18))
    assert view_sheet(views((1,), names)).shape[1] <= 2048


def test_each_view_becomes_a_file_of_its_own_with_no_name_from_outside(tmp_path):
    shown = views((3, 2**62), ("front", "../up", "20°", "°"))
    paths = write_views(shown, tmp_path)
    assert [path.name for path in paths[:4]] == ["seed-3-front.png", "seed-3-up.png", "seed-3-20.png", "seed-3-3.png"]
    assert all(path.parent == tmp_path for path in paths) and len(set(paths)) == 8
    with Image.open(paths[5]) as image:
        np.testing.assert_array_equal(np.asarray(image), shown.images[1, 1])
