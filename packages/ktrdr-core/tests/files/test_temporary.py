import errno
import os
import tempfile

import pytest

from ktrdr.core.errors import DiskFullError, StoreError
from ktrdr.core.files import temporary
from ktrdr.core.files.temporary import new_temporary_directory, temporary_directory


def test_it_is_there_and_then_it_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary_directory("ktrdr-x-") as directory:
        (directory / "below").mkdir()
        (directory / "below" / "file").write_text("x")
        assert directory.parent == tmp_path
        assert directory.name.startswith("ktrdr-x-")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError), temporary_directory("ktrdr-x-"):
        1 / 0  # noqa: B018
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("free", "kind", "told"), [(0, DiskFullError, "the disk is full"), (10**9, StoreError, "name")]
)
def test_where_no_place_can_be_written_to_it_is_said_why(monkeypatch, tmp_path, free, kind, told):
    """Python tries to write a file in each of some places, and tells of none that it was not found."""

    def refuse(*arguments, **more):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path)])
    monkeypatch.setattr(tempfile._os, "open", refuse)
    monkeypatch.setattr(temporary, "free_bytes", lambda place: free)
    with pytest.raises(kind, match=told) as raised:
        new_temporary_directory("ktrdr-x-")
    assert type(raised.value) is kind
    assert "TMPDIR" in str(raised.value)
