"""The film in the README: made by a script from a real run, and nothing but a picture."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "screenshots"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_recording", FOLDER / "make_recording.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_picture(text: str, frames: int) -> None:
    """It is one strip of so many frames that moves, and loads and runs nothing."""
    root = ElementTree.fromstring(text)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *("svg", "style", "defs", "clipPath", "rect", "circle", "g", "text", "tspan", "use")
    }
    links = [value for element in root.iter() for name, value in element.attrib.items() if name == "href"]
    assert all(link.startswith("#l") for link in links)
    ids = {element.get("id") for element in root.iter(f"{SVG}text")}
    assert {link.removeprefix("#") for link in links} == ids
    assert not re.search(r"url\((?!#)|@import|@font-face", text)
    steps = re.findall(r"([\d.]+)%\{transform:translateX\((-?\d+)px\)\}", text)
    assert len(steps) == frames
    assert [float(at) for at, _ in steps] == sorted(float(at) for at, _ in steps)
    width = float(root.attrib["viewBox"].split()[2])
    assert [int(place) for _, place in steps] == [-number * int(width) for number in range(frames)]


def test_the_film_of_some_frames(script: ModuleType) -> None:
    line = script._run("a < b & c", "red", True, False, False)
    frames = [script.Frame(0.0, ("$\xa0x", "")), script.Frame(0.5, ("$\xa0x", line)), script.Frame(9.0, ("", line))]
    text = script.draw(frames)
    check_picture(text, 3)
    assert text.count("a\xa0&lt;\xa0b\xa0&amp;\xa0c") == 1  # a line that stays is there once
    total = 0.5 + script.LONGEST + script.AT_THE_END
    assert f"animation:film {total:.2f}s" in text


def test_the_film_that_is_shown() -> None:
    text = (FOLDER / "recording.svg").read_text("utf-8")
    check_picture(text, text.count("px)}") - 1)
    shown = text.replace("\xa0", " ")
    for words in ("aichatfree ask", "aichatfree chat --continue", "aichatfree history", "names.reverse()"):
        assert words in shown, words
    assert "/tmp" not in shown
    assert "Traceback" not in shown
