"""The scripts start where nothing is installed yet: on a bare shell, on an old Python, behind a mirror."""

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHELL = [ROOT / ".ci" / "run", *(path for path in (ROOT / "scripts").iterdir() if path.is_file() and not path.suffix)]


def first_line(path: Path) -> str:
    return path.read_text(encoding="utf-8").split("\n", 1)[0]


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "scripts" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("script", SHELL, ids=lambda path: path.name)
def test_a_script_can_be_run_and_read(script):
    assert os.access(script, os.X_OK), f"{script} is not executable"
    interpreter = first_line(script).removeprefix("#!").split()[-1]
    if interpreter in ("/bin/sh", "bash"):
        subprocess.run([interpreter, "-n", str(script)], check=True, timeout=10)
    else:
        assert interpreter == "python3"
        ast.parse(script.read_text(encoding="utf-8"))


def test_an_old_python_can_read_the_bootstrap_that_refuses_it():
    ast.parse((ROOT / "scripts" / "bootstrap.py").read_text(encoding="utf-8"), feature_version=(3, 6))


def test_the_bootstrap_needs_nothing_but_the_standard_library():
    tree = ast.parse((ROOT / "scripts" / "bootstrap.py").read_text(encoding="utf-8"))
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in named} <= sys.stdlib_module_names


def test_the_wheel_of_pip_is_found_in_either_kind_of_index(bootstrap):
    wheel, page = bootstrap.PIP_WHEEL, "https://mirror.example/simple/pip/"
    of_pypi = json.dumps({"files": [{"filename": wheel, "url": f"https://files.example/a/b/{wheel}"}]})
    of_a_mirror = f'<a href="../../packages/a/b/{wheel}#sha256=00">{wheel}</a> <a href="../../x/pip-9.whl">x</a>'
    of_a_folder = f"<a href='{wheel}'>{wheel}</a>"
    assert bootstrap.wheel_in(of_pypi, page) == f"https://files.example/a/b/{wheel}"
    assert bootstrap.wheel_in(of_a_mirror, page) == f"https://mirror.example/packages/a/b/{wheel}"
    assert bootstrap.wheel_in(of_a_folder, page) == f"{page}{wheel}"
    assert bootstrap.wheel_in('<a href="pip-9.0-py3-none-any.whl">', page) == ""


def test_the_index_is_the_one_that_pip_would_use(bootstrap, tmp_path, monkeypatch):
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://of.the.file/simple\n", encoding="utf-8")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    assert bootstrap.setting_of_pip("index-url", "") == "https://of.the.file/simple"
    monkeypatch.setenv("PIP_INDEX_URL", "https://of.the.environment/simple")
    assert bootstrap.setting_of_pip("index-url", "") == "https://of.the.environment/simple"


def test_a_folder_with_other_files_is_never_cleared(tmp_path):
    (tmp_path / "diary.txt").write_text("mine", encoding="utf-8")
    command = [sys.executable, str(ROOT / "scripts" / "bootstrap.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 69
    assert "holds other files" in done.stderr
    assert (tmp_path / "diary.txt").read_text(encoding="utf-8") == "mine"
