import pytest

from processes import run_script


@pytest.fixture
def run_python(tmp_path):
    """Run a script's text to its end, warnings being errors: `run_python(text, *arguments)`."""

    def run(text, *arguments, **more):
        script = tmp_path / "script.py"
        script.write_text(text, encoding="utf-8")
        return run_script(script, *arguments, launcher=("-W", "error"), **more)

    return run
