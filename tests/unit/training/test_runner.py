"""What trainers share: files that are whole or not there."""

import pytest

from dreamlift.training.runner import whole_file


def test_a_file_is_there_once_it_is_whole(tmp_path):
    path = tmp_path / "data.npy"
    with pytest.raises(KeyboardInterrupt), whole_file(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert not path.exists()
    with whole_file(path) as file:
        file.write(b"all of it")
        assert not path.exists()
    assert path.read_bytes() == b"all of it" and list(tmp_path.iterdir()) == [path]
