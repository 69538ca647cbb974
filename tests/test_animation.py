"""The animation that README and documentation open with: a step of learning, small and moving."""

import re
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_animation_is_small_and_stays_long_enough_to_be_read(scheme):
    path = ROOT / "docs" / "pictures" / f"step-{scheme}.webp"
    assert path.stat().st_size < 1_000_000
    durations = []
    with Image.open(path) as picture:
        assert picture.info["loop"] == 0  # for ever
        assert picture.width >= 830
        for number in range(picture.n_frames):
            picture.seek(number)
            picture.load()
            durations.append(picture.info["duration"])
    assert sum(duration >= 1500 for duration in durations) >= 8  # one for each thing that is computed
    assert 15_000 < sum(durations) < 45_000


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_readme_and_documentation_open_with_it(page):
    path = ROOT / page
    pictures = re.findall(r'(?:src|srcset)="([^"]+)"|!\[[^]]*\]\(([^)#]+)', path.read_text())
    first = [one or other for one, other in pictures][:2]
    assert {Path(name).name for name in first} == {"step-light.webp", "step-dark.webp"}
    assert all((path.parent / name).exists() for name in first)
