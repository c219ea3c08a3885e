"""The laws of the house that a machine can read: who imports whom, what stays light, how long things may be.

Imports are read from the source, those inside functions too; what a process really loads is then asked of Python.
"""

import ast
import configparser
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ("drivers", "recognition", "sync")
PACKAGES = (*LIBRARIES, "sentinel")

CORE_MAY = {"drivers.readings", "recognition.readings"}
CORE_MUST_NOT = {"time", "random", "secrets", "threading", "logging", "socket", "sqlite3", "os", "subprocess"}

SIGHT = {"numpy", "cv2", "onnxruntime", "onnx", "insightface", "recognition.pipeline"}
MQTT = {"paho"}
MAY_NOT_LOAD = {
    "sentinel.gate": SIGHT | MQTT,  # pictures are its child's; the network is the uplink's
    "sentinel.uplink": SIGHT | {"gpiozero", "serial", "drivers.barrier"},
    "sentinel.manual": SIGHT | MQTT | {"sqlite_utils", "starlette"},  # must start in a blink on a sick machine
    "sentinel.console.app": SIGHT | MQTT | {"gpiozero", "serial"},
    "sentinel.cli": SIGHT | MQTT,
    "sentinel.settings": SIGHT | MQTT | {"drivers", "recognition", "sync", "serial", "gpiozero"},
}
# What a process loads of the above all the same, and why.
LOADS_ALL_THE_SAME = {"sentinel.settings": {"drivers", "drivers.errors"}}  # the table of kinds: plain words, no port
PROCESSES = {"gate", "vision", "uplink", "manual", "console", "cli", "street", "enrol"}
# A process module that another one may name, and why.
PROCESS_IMPORTS = {("sentinel.gate", "sentinel.vision"): "the gate's own child, imported in the child only"}

LONGEST_FUNCTION, LONGEST_MODULE = 40, 400
# What is longer, and why it is better so. A table is no function: it is not listed here but has no `def`.
LONGER: dict[str, str] = {}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}
TREES = {module: ast.parse(path.read_text(encoding="utf-8"), str(path)) for module, path in FILES.items()}


def named_by(module: str, node: ast.stmt) -> Iterator[str]:
    """Return the modules that an import statement names; of `from a import b` both `a` and, when it is one, `a.b`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            home = module.split(".") if FILES[module].name == "__init__.py" else module.split(".")[:-1]
            base = ".".join([*home[: len(home) - node.level + 1], *([node.module] if node.module else [])])
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names if f"{base}.{alias.name}" in FILES)


def imports(module: str) -> set[str]:
    """Return everything a module imports, wherever in it."""
    return {name for node in ast.walk(TREES[module]) if isinstance(node, ast.stmt) for name in named_by(module, node)}


def loaded_with(module: str) -> set[str]:
    """Return everything that importing a module imports, followed through our own packages."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        waiting += [".".join(name.split(".")[:count]) for count in range(1, name.count(".") + 1)]
        if name in TREES:
            waiting += [found for node in at_import(TREES[name].body) for found in named_by(name, node)]
    return seen


def at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Return the statements that run when a module is imported: those inside functions do not."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from at_import(node.orelse)
            continue
        yield node
        for part in ("body", "orelse", "finalbody"):
            yield from at_import([child for child in getattr(node, part, []) if isinstance(child, ast.stmt)])
        for handler in getattr(node, "handlers", []):
            yield from at_import(handler.body)


def below(name: str, roots: set[str]) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in roots)


@pytest.mark.parametrize("module", [module for module in FILES if not below(module, {"sentinel"})])
def test_a_library_imports_nothing_of_ours_but_itself(module):
    own = module.split(".")[0]
    others = set(PACKAGES) - {own}
    assert {name for name in imports(module) if below(name, others)} == set()


@pytest.mark.parametrize("module", [module for module in FILES if below(module, {"sentinel.core"})])
def test_the_core_sees_the_readings_and_no_clock_no_chance_no_device(module):
    for name in imports(module):
        if below(name, set(PACKAGES)):
            assert name in CORE_MAY or below(name, {"sentinel.core"}) or name == "sentinel", f"{module} imports {name}"
        else:
            assert name.split(".")[0] in sys.stdlib_module_names, f"{module} imports {name}"
            assert not below(name, CORE_MUST_NOT), f"{module} imports {name}: let it arrive as an argument"


@cache
def processes() -> frozenset[str]:
    """Return the process modules: the named ones, the entry points, and whatever else has a main()."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    scripts = setup["options.entry_points"]["console_scripts"].strip().splitlines()
    entry_points = {line.partition("=")[2].partition(":")[0].strip() for line in scripts}
    has_main = {
        module
        for module, tree in TREES.items()
        if below(module, {"sentinel"})
        and any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)
    }
    return frozenset({f"sentinel.{name}" for name in PROCESSES} | entry_points | has_main)


@pytest.mark.parametrize("module", FILES)
def test_nobody_imports_a_process(module):
    for name in imports(module):
        for process in processes():
            if not below(name, {process}) or (module, process) in PROCESS_IMPORTS:
                continue
            family = {".".join(process.split(".")[:2])}  # the files of sentinel/cli are one process, and so on
            assert below(module, family), f"{module} imports the process {name}"


@pytest.mark.parametrize("module", [module for module in MAY_NOT_LOAD if module in FILES])
def test_a_process_loads_only_what_it_may(module):
    heavy = {name for name in loaded_with(module) if below(name, MAY_NOT_LOAD[module])}
    heavy -= LOADS_ALL_THE_SAME.get(module, set())
    assert heavy == set(), f"{module} imports {sorted(heavy)} when it starts"


@pytest.mark.parametrize("module", [module for module in MAY_NOT_LOAD if module in FILES])
def test_python_agrees_on_what_a_process_loads(module):
    code = f"import sys, {module}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    heavy = {name for name in done.stdout.split() if below(name, MAY_NOT_LOAD[module])}
    heavy -= LOADS_ALL_THE_SAME.get(module, set())
    assert heavy == set(), f"{module} loads {sorted(heavy)} when it starts"


def test_what_is_loaded_is_followed_through_our_own_files():
    assert "onnxruntime" not in imports("sentinel.prepare")
    assert "onnxruntime" in loaded_with("sentinel.prepare")


@pytest.mark.parametrize("module", FILES)
def test_no_asyncio(module):
    assert not {name for name in imports(module) if below(name, {"asyncio", "anyio", "trio"})}


@pytest.mark.parametrize("module", FILES)
def test_a_module_can_be_read_in_one_sitting(module):
    lines = FILES[module].read_text(encoding="utf-8").count("\n")
    assert lines <= LONGEST_MODULE or module in LONGER, f"{module} has {lines} lines"


@pytest.mark.parametrize("module", FILES)
def test_a_function_fits_on_a_screen(module):
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = length_of(node)
            name = f"{module}:{node.name}"
            assert lines <= LONGEST_FUNCTION or name in LONGER, f"{name} has {lines} lines without its docstring"


def length_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    whole = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is not None:
        whole -= (first.end_lineno or first.lineno) - first.lineno + 1
    return whole


def test_every_exception_is_still_needed():
    names = set(FILES) | {
        f"{module}:{node.name}"
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert set(LONGER) <= names
    assert all(why for why in LONGER.values())
    for module, process in PROCESS_IMPORTS:
        if module in FILES:
            assert process in imports(module)
    for module, names in LOADS_ALL_THE_SAME.items():
        assert names <= loaded_with(module)


FORBIDDEN_IN_TESTS = {"time.sleep", "pytest.skip", "pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail"}


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_tests_neither_sleep_nor_skip_nor_patch(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            assert name not in FORBIDDEN_IN_TESTS, f"{path.name}:{node.lineno}: {name}"
            assert name != "monkeypatch.setattr", f"{path.name}:{node.lineno}: substitute it, do not patch it"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
            assert not names & {"unittest.mock", "mock"}, f"{path.name}:{node.lineno}: substitute it, do not mock it"
