"""The house stands: imports go downward and in no circle, and lower floors do without torch.

Each test lists every offender at once. What is being mended is named in `KNOWN` and `WITHOUT_README`, which
can only shrink: an entry that no longer offends fails the test until it is taken out.
"""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

import segue

SOURCE = Path(segue.__file__).parent
GROUND = "ground"
GROUND_MODULES = frozenset(
    {"errors", "file_kind", "files", "masks", "mask_outlines", "images", "records", "protocol", "chat_model"}
)
# A floor may import itself and whatever has a smaller number. Equal numbers are siblings that stay apart.
# A dotted name is a folder with a floor of its own: `models.mini` is the embedded model's, not the papers'.
HEIGHTS = {
    GROUND: 0,
    "metrics": 1,
    "models": 2,
    "data": 3,
    "scenes": 4,
    "exports": 4,
    "inference": 5,
    "agent": 6,
    "loading": 7,
    "datasets": 8,  # above inference, because previews draw with its pictures
    "training": 9,
    "evaluation": 9,
    "models.mini": 10,
    "mini": 11,
    "apps": 12,
    "verbs": 12,  # read_data, train, evaluate: above the embedded model, whose stages recipes name
    "cli": 13,
}
# (importer, imported): imports that go upward or close a circle today.
KNOWN: set[tuple[str, str]] = set()
# Folders of src/segue, by path, whose README is still to be written.
WITHOUT_README: set[str] = {}
# Above the ground floor, these do without torch too: scenes are drawn in many worker processes.
TORCH_FREE = ("segue.metrics", "segue.scenes")
HEAVY = frozenset({"torch", "transformers", "peft", "accelerate", "torchvision"})
# An interpreter in which nothing of the embedded model can be imported. Extras may be missing; they say so.
WITHOUT_MINI = """
import sys
from importlib import import_module

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if f"{name}.".startswith(("segue.mini.", "segue.models.mini.")):
            raise ModuleNotFoundError(f"the core imports {name}", name=name)

def load(name):
    try:
        import_module(name)
    except ImportError as error:
        if "extra" not in str(error):
            raise

sys.meta_path.insert(0, Refuse())
"""
BUILD_TINY = """
from segue.models.configuration_lisa import LisaConfig
from segue.models.modeling_lisa import LisaModel
from segue.models.modeling_prima import PrimaModel
from segue.models.presets import preset

prima = preset("tiny-prima").config()
shared = {"vision_config": {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2}}
lisa = LisaConfig(**shared, text_config=prima.text_config.to_dict(), sam_config=prima.sam_config.to_dict())
for model in (LisaModel(lisa), PrimaModel(prima)):
    print(type(model).__name__)
"""


# ---------------------------------------------------------------------------------------- reading imports
def module_files() -> dict[str, Path]:
    """Dotted name -> file, for every module of the package."""
    files = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


MODULES = module_files()


def floor_of(module: str) -> str:
    """`segue.models.splice` -> `models`; `segue.masks`, `segue.protocol.answers` and `segue` -> `ground`."""
    parts = module.split(".")[1:]
    if not parts or parts[0] in GROUND_MODULES:
        return GROUND
    return next((floor for floor in HEIGHTS if floor.split(".") == parts[:2]), parts[0])


def may_import(own: str, other: str) -> bool:
    """Whether a module of floor `own` may import one of floor `other`."""
    return own == other or HEIGHTS[other] < HEIGHTS[own]


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def nodes(tree: ast.AST, *, types: bool) -> Iterator[ast.AST]:
    """All nodes of a module, functions' bodies included; with `types` also what only type checkers run."""
    for child in ast.iter_child_nodes(tree):
        if is_type_checking(child) and not types:
            continue
        yield child
        yield from nodes(child, types=types)


def imported_names(module: str, path: Path, *, types: bool) -> Iterator[tuple[str, int]]:
    """(dotted name, line) of each import, relative ones made absolute, `from m import n` as `m.n`."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in nodes(ast.parse(path.read_text(encoding="utf-8")), types=types):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - (node.level - 1)]
                base = ".".join([*above, *([base] if base else [])])
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def resolve(name: str) -> str:
    """The module of ours that an imported name comes from: `segue.read_jsonl` -> `segue.records`."""
    parts = name.split(".")
    if len(parts) == 2 and parts[1] in segue._PUBLIC and name not in MODULES:
        return segue._PUBLIC[parts[1]]
    while ".".join(parts) not in MODULES and len(parts) > 1:
        parts.pop()
    return ".".join(parts)


@cache
def own_imports(module: str, *, types: bool) -> dict[str, int]:
    """Module of ours -> line of its first import in `module`; imports of itself are left out."""
    found: dict[str, int] = {}
    for name, line in imported_names(module, MODULES[module], types=types):
        if name.split(".")[0] == "segue" and resolve(name) != module:
            found.setdefault(resolve(name), line)
    return found


def place(module: str, target: str) -> str:
    line = own_imports(module, types=True)[target]
    return f"{MODULES[module].relative_to(SOURCE.parent)}:{line} imports {target}"


# ---------------------------------------------------------------------------------------- what is wrong
def upward_imports() -> set[tuple[str, str]]:
    """Imports against the floors. Those for type checkers count: they say on what the code's words depend."""
    # The package's own __init__ names everything for type checkers; it imports nothing until it is asked.
    return {
        (module, target)
        for module in MODULES
        for target in own_imports(module, types=module != "segue")
        if not may_import(floor_of(module), floor_of(target))
    }


def import_graph() -> dict[str, set[str]]:
    """Module -> what it imports when loaded or when one of its functions runs."""
    graph = {module: set(own_imports(module, types=False)) - {"segue"} for module in MODULES}
    # A package's __init__ re-exports its modules, which may name the package in turn: no circle by design.
    return {
        module: {t for t in targets if not module.startswith(t + ".")} for module, targets in graph.items()
    }


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or through others (Tarjan's algorithm)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for target in sorted(graph[module]):
            if target not in index:
                visit(target)
            if target in stack:
                low[module] = min(low[module], low[target])
        if low[module] == index[module]:
            group = stack[stack.index(module) :]
            del stack[-len(group) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in sorted(graph):
        if module not in index:
            visit(module)
    return sorted(found)


def edges_within(groups: list[list[str]], graph: dict[str, set[str]]) -> set[tuple[str, str]]:
    return {(m, t) for group in groups for m in group for t in graph[m] if t in group}


def torch_free_modules() -> list[str]:
    inside = [m for m in MODULES if any(m == free or m.startswith(free + ".") for free in TORCH_FREE)]
    return [m for m in MODULES if floor_of(m) == GROUND] + inside


def source_folders() -> list[Path]:
    """Folders of the package that hold files; the weights, with a card of their own, are left out."""
    folders = {path.parent for path in SOURCE.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    return sorted(f for f in folders if f.relative_to(SOURCE).parts[:1] != ("weights",))


def readme_faults(folder: Path) -> list[str]:
    """What is wrong with a folder's README: missing, silent about a module, naming what does not exist."""
    readme = folder / "README.md"
    if not readme.is_file():
        return ["no README.md"]
    words = set(re.findall(r"`([^`\s]+)`", readme.read_text(encoding="utf-8")))
    files = {path.name for path in folder.glob("*.py")} - {"__init__.py", "__main__.py"}
    if not files:  # texts and lists that stand beside the code
        files = {path.name for path in folder.glob("*.*") if path.suffix in (".json", ".txt")}
    rooms = {f"{inner.name}/" for inner in source_folders() if inner.parent == folder}
    faults = [f"does not name `{name}`" for name in sorted((files | rooms) - words)]
    named = {word for word in words if re.fullmatch(r"[\w./-]+(\.(py|md|json|txt)|/)", word)}
    # A name counts from beside the README or from the root of the checkout.
    stale = {w for w in named if not (folder / w).exists() and not (SOURCE.parents[1] / w).exists()}
    return faults + [f"names `{word}`, which is not there" for word in sorted(stale)]


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(modules: Iterable[str]) -> set[str]:
    """The heavy libraries that a fresh interpreter has loaded after importing `modules`."""
    lines = "\n".join(f"import {module}" for module in modules)
    return set(run_python(f"import sys\n{lines}\nprint(*({set(HEAVY)!r} & set(sys.modules)))").split())


# ---------------------------------------------------------------------------------------- the tests
def test_every_module_has_a_floor() -> None:
    homeless = [module for module in MODULES if floor_of(module) not in HEIGHTS]
    assert not homeless, f"name their floor in HEIGHTS or GROUND_MODULES: {homeless}"
    gone = [name for name in GROUND_MODULES if f"segue.{name}" not in MODULES]
    assert not gone, f"take these out of GROUND_MODULES: {gone}"


def test_imports_go_downward() -> None:
    offenders = sorted(place(*edge) for edge in upward_imports() - KNOWN)
    assert not offenders, "\n".join(["imports of a higher floor:", *offenders])


def test_modules_import_in_no_circle() -> None:
    graph = import_graph()
    remaining = {m: {t for t in targets if (m, t) not in KNOWN} for m, targets in graph.items()}
    lines = [
        "\n  ".join([" <-> ".join(group), *sorted(place(*edge) for edge in edges_within([group], remaining))])
        for group in circles(remaining)
    ]
    assert not lines, "\n".join(["modules that import each other:", *lines])


def test_known_offenders_still_offend() -> None:
    graph = import_graph()
    mended = sorted(KNOWN - upward_imports() - edges_within(circles(graph), graph))
    assert not mended, f"take these out of KNOWN: {mended}"
    written = sorted(
        name for name in WITHOUT_README if not (SOURCE / name).is_dir() or not readme_faults(SOURCE / name)
    )
    assert not written, f"take these out of WITHOUT_README: {written}"


def test_lower_floors_name_no_torch() -> None:
    offenders = [
        f"{MODULES[module]}:{line} imports {name}"
        for module in torch_free_modules()
        for name, line in imported_names(module, MODULES[module], types=True)
        if name.split(".")[0] in HEAVY
    ]
    assert not offenders, "\n".join(offenders)


def test_importing_the_lower_floors_loads_no_torch() -> None:
    assert loaded_by(["segue", *torch_free_modules()]) == set()


def test_core_works_without_the_mini() -> None:
    core = [module for module in MODULES if HEIGHTS[floor_of(module)] < HEIGHTS["models.mini"]]
    printed = run_python(WITHOUT_MINI + "\n".join(f"load({module!r})" for module in core) + BUILD_TINY)
    assert printed.splitlines() == ["LisaModel", "PrimaModel"]


def test_every_folder_has_a_true_readme() -> None:
    faults = {
        folder.relative_to(SOURCE).as_posix(): readme_faults(folder)
        for folder in source_folders()
        if folder.relative_to(SOURCE).as_posix() not in WITHOUT_README
    }
    lines = [f"src/segue/{name}: {fault}" for name, found in faults.items() for fault in found]
    assert not lines, "\n".join(lines)


def test_public_surface_is_small_and_resolves() -> None:
    assert len(segue.__all__) <= 25
    assert set(segue.__all__) <= set(dir(segue))
    for name, module in segue._PUBLIC.items():
        assert getattr(segue, name) is getattr(importlib.import_module(module), name)


def test_unknown_name_lists_the_public_ones() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lode'; public names: load, "):
        segue.lode  # noqa: B018


# --------------------------------------------------------------------------------------the tests' own tools
@pytest.mark.parametrize(
    ("own", "other", "allowed"),
    [
        ("segue.errors", "segue.protocol.prima", True),
        ("segue.masks", "segue.inference.session", False),
        ("segue.models.splice", "segue.masks", True),
        ("segue.models.splice", "segue.data.own", False),
        ("segue.models.auto", "segue.models.mini.label_reader", False),
        ("segue.mini.small_rows", "segue.models.mini.label_reader", True),
        ("segue.training.recipe", "segue.evaluation.scores", False),
        ("segue.training.recipe", "segue.mini", False),
        ("segue.cli.train", "segue.training.recipe", True),
        ("segue.training.recipe", "segue.cli", False),
    ],
)
def test_the_rule_itself(own: str, other: str, allowed: bool) -> None:
    assert may_import(floor_of(own), floor_of(other)) is allowed


@pytest.mark.parametrize(
    ("source", "types", "expected"),
    [
        ("from ..protocol import parse", False, ["segue.protocol.parse"]),
        ("from . import splice", False, ["segue.models.splice"]),
        ("def f():\n    import torch", False, ["torch"]),
        ("try:\n    import peft.tuners as p\nexcept ImportError:\n    p = None", False, ["peft.tuners"]),
        ("if TYPE_CHECKING:\n    import torch", False, []),
        ("if TYPE_CHECKING:\n    import torch", True, ["torch"]),
    ],
)
def test_imports_are_found(tmp_path: Path, source: str, types: bool, expected: list[str]) -> None:
    path = tmp_path / "losses.py"
    path.write_text(source)
    assert [name for name, _ in imported_names("segue.models.losses", path, types=types)] == expected


def test_circles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": {"e"}, "e": {"d"}, "f": {"a", "f2"}, "f2": set()}
    assert circles(graph) == [["a", "b", "c"], ["d", "e"]]
    assert circles({"a": {"b"}, "b": set()}) == []


def test_faults_of_a_readme_are_found(tmp_path: Path) -> None:
    (tmp_path / "losses.py").touch()
    assert readme_faults(tmp_path) == ["no README.md"]
    (tmp_path / "README.md").write_text("`splice.py` joins, see `segue.load`.")
    assert readme_faults(tmp_path) == ["does not name `losses.py`", "names `splice.py`, which is not there"]
    (tmp_path / "README.md").write_text("`losses.py` counts.")
    assert readme_faults(tmp_path) == []


def test_a_public_name_counts_as_its_module() -> None:
    assert resolve("segue.read_jsonl") == "segue.records"
