import io
import sys

from cnntrain.data.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_silent_without_a_terminal(capfd):
    with progress("decoding", 3) as advance:
        advance(3)
    out, err = capfd.readouterr()
    assert out == err == ""


def test_a_bar_on_stderr_alone(monkeypatch, capfd):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with progress("decoding [train]", 3, in_bytes=True) as advance:
        advance(3)
    assert "decoding [train]" in terminal.getvalue()
    assert capfd.readouterr().out == ""
