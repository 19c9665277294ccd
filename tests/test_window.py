"""The window, on a stand-in for tkinter: there is no screen where tests run."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from oddoneout.window import NoDisplayError, Window


class TclError(Exception):
    """tkinter's, when a window is gone."""


class Root:
    """A window that can be closed by the user at any time."""

    def __init__(self) -> None:
        self.gone, self.bound, self.frames = False, {}, []
        self.protocols = {}

    def title(self, text): ...

    def resizable(self, width, height): ...

    def configure(self, **options): ...

    def bind(self, event, call):
        self.bound[event] = call

    def protocol(self, name, call):
        self.protocols[name] = call

    def update(self):
        if self.gone:
            raise TclError("application has been destroyed")

    def destroy(self):
        self.gone = True


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Root:
    root = Root()

    def photo(master, data, format):
        if root.gone:
            raise TclError("application has been destroyed")
        root.frames.append(data)

    label = SimpleNamespace(pack=lambda: None, configure=lambda image: None)
    tkinter = SimpleNamespace(
        Tk=lambda: root, TclError=TclError, PhotoImage=photo, Label=lambda *_, **__: label
    )
    monkeypatch.setitem(sys.modules, "tkinter", tkinter)
    return root


def frame(height: int = 2, width: int = 3) -> np.ndarray:
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


def test_small_frames_are_enlarged_by_a_whole_factor(root: Root) -> None:
    Window("test", least_height=5).show(frame())  # 2 pixels high: three times
    head, pixels = root.frames[0].split(b"255\n", 1)
    assert head == b"P6 9 6 "
    shown = np.frombuffer(pixels, np.uint8).reshape(6, 9, 3)
    assert np.array_equal(shown[::3, ::3], frame())
    assert np.array_equal(shown[2::3, 2::3], frame())


@pytest.mark.parametrize(
    "wrong", [frame().astype(np.float32), frame()[..., :2], frame()[0]], ids=lambda w: str(w.shape)
)
def test_what_is_no_frame_is_refused(root: Root, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        Window("test").show(wrong)
    assert not root.frames


def test_keys_are_handed_out_once_in_order_and_in_lower_case(root: Root) -> None:
    window = Window("test")
    for name in ("Up", "space", "C"):
        root.bound["<Key>"](SimpleNamespace(keysym=name))
    assert window.keys() == ["up", "space", "c"]
    assert window.keys() == []


def test_who_shows_a_frame_in_a_window_that_is_gone_finds_it_closed(root: Root) -> None:
    window = Window("test")
    root.gone = True
    window.show(frame())
    assert window.closed
    window.show(frame())  # and again, to no harm
    assert window.keys() == []


def test_the_users_closing_closes_it_and_so_does_ours_twice(root: Root) -> None:
    window = Window("test")
    root.protocols["WM_DELETE_WINDOW"]()
    assert window.closed
    assert root.gone
    window.close()


def test_without_tkinter_or_a_screen_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tkinter", None)
    with pytest.raises(NoDisplayError, match="python3-tk"):
        Window("test")

    def no_screen():
        raise TclError("no display name and no $DISPLAY environment variable")

    lonely = SimpleNamespace(Tk=no_screen, TclError=TclError)
    monkeypatch.setitem(sys.modules, "tkinter", lonely)
    with pytest.raises(NoDisplayError, match="set DISPLAY"):
        Window("test")
