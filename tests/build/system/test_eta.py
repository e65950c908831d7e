from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build.system.eta import share_of_time


@given(total=st.integers(1, 3000), data=st.data())
def test_it_grows_from_0_to_1(total: int, data: st.DataObject) -> None:
    done = data.draw(st.integers(0, total - 1))
    assert 0 <= share_of_time(done, total) <= share_of_time(done + 1, total) <= 1
    assert share_of_time(0, total) == 0
    assert share_of_time(total, total) == 1


def test_the_quick_start_of_a_whole_build_is_not_taken_for_its_pace() -> None:
    assert share_of_time(354, 1180) == pytest.approx(0.082)
    assert share_of_time(30, 100) == pytest.approx(0.3)
    assert share_of_time(5, 0) == 0
