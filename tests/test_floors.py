"""The house stands: imports go downward only, without cycles, and the lower floors do not load torch."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import segue

SOURCE = Path(segue.__file__).parent
GROUND = "ground"
GROUND_MODULES = frozenset(
    {"colours", "errors", "files", "masks", "images", "records", "protocol", "chat_model"}
)
# A package may import itself and whatever has a smaller number. Equal numbers are siblings that stay apart.
HEIGHTS = {
    GROUND: 0,
    "metrics": 1,
    "models": 2,
    "data": 3,
    "scenes": 4,
    "inference": 5,
    "datasets": 6,
    "agent": 7,
    "training": 8,
    "evaluation": 8,
    "mini": 9,
    "apps": 10,
    "cli": 11,
}
# Being opened; each entry must still offend, so that the list can only shrink.
KNOWN = {
    ("segue.data.sources.generic", "segue.scenes.build"),
    ("segue.data.sources.generic", "segue.scenes.kinds"),
    ("segue.inference.session", "segue.agent.address"),
    ("segue.inference.session", "segue.agent.session"),
    ("segue.training.finetune.objective", "segue.mini.code_prompts"),
    ("segue.training.finetune.objective", "segue.mini.name_presence"),
    ("segue.training.finetune.run", "segue.mini.name_presence"),
    ("segue.training.run", "segue.mini.pools"),
    ("segue.training.run", "segue.mini.slots"),
    ("segue.training.run", "segue.mini.starts"),
    ("segue.training.run", "segue.mini.vocabulary"),
    ("segue.training.run", "segue.mini.dialogues"),
    ("segue.training.run", "segue.mini.tokenizer"),
    ("segue.training.run", "segue.mini.mask_objective"),
    ("segue.training.run", "segue.mini.slot_objective"),
    ("segue.training.run", "segue.mini.vision_objective"),
    ("segue.training.run", "segue.mini.label_objective"),
    ("segue.training.run", "segue.mini.conversation_objective"),
}
# Above the ground floor, these do without torch too: scenes are drawn in many worker processes.
TORCH_FREE = ("segue.metrics", "segue.scenes")
HEAVY = frozenset({"torch", "transformers", "peft", "accelerate", "torchvision"})


def module_files() -> dict[str, Path]:
    """Dotted name -> file, for every module of the package."""
    files = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


MODULES = module_files()


def package_of(module: str) -> str:
    """`segue.models.splice` -> `models`; `segue.masks`, `segue.protocol.answers` and `segue` -> `ground`."""
    parts = module.split(".")
    return GROUND if len(parts) == 1 or parts[1] in GROUND_MODULES else parts[1]


def may_import(own: str, other: str) -> bool:
    """Whether a module of package `own` may import one of package `other`."""
    return own == other or HEIGHTS[other] < HEIGHTS[own]


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def nodes(tree: ast.AST, *, everywhere: bool) -> Iterator[ast.AST]:
    """Nodes of a module; unless `everywhere`, only those that run when it is imported."""
    for child in ast.iter_child_nodes(tree):
        deferred = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if (deferred or is_type_checking(child)) and not everywhere:
            continue
        yield child
        yield from nodes(child, everywhere=everywhere)


def imported_names(module: str, path: Path, *, everywhere: bool) -> Iterator[tuple[str, int]]:
    """(dotted name, line) of each import, relative ones made absolute, `from m import n` as `m.n`."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in nodes(ast.parse(path.read_text(encoding="utf-8")), everywhere=everywhere):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - (node.level - 1)]
                base = ".".join([*above, *([base] if base else [])])
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def resolve(name: str) -> str:
    """The module of ours that an imported name comes from: `segue.load` -> `segue.inference.session`."""
    parts = name.split(".")
    if len(parts) == 2 and parts[1] in segue._PUBLIC:
        return segue._PUBLIC[parts[1]]
    while ".".join(parts) not in MODULES and len(parts) > 1:
        parts.pop()
    return ".".join(parts)


def own_imports(module: str, *, everywhere: bool) -> list[tuple[str, int]]:
    return [
        (resolve(name), line)
        for name, line in imported_names(module, MODULES[module], everywhere=everywhere)
        if name.split(".")[0] == "segue"
    ]


def test_every_module_has_a_floor() -> None:
    homeless = [module for module in MODULES if package_of(module) not in HEIGHTS]
    assert not homeless, f"name their floor in HEIGHTS or GROUND_MODULES: {homeless}"


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_downward(module: str) -> None:
    # The package's own __init__ names everything for type checkers; it imports nothing until it is asked.
    everywhere = module != "segue"
    upward = [
        f"{MODULES[module]}:{line} imports {target}"
        for target, line in own_imports(module, everywhere=everywhere)
        if not may_import(package_of(module), package_of(target)) and (module, target) not in KNOWN
    ]
    assert not upward, "\n".join(upward)


def test_modules_import_without_cycles() -> None:
    graph = {m: {t for t, _ in own_imports(m, everywhere=False) if t not in (m, "segue")} for m in MODULES}
    # A package's __init__ re-exports its modules, which may name the package in turn: no cycle by design.
    for module, targets in graph.items():
        targets -= {t for t in targets if module.startswith(t + ".")}
    finished: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, "import cycle: " + " -> ".join([*trail[trail.index(module) :], module])
        if module not in finished:
            for target in sorted(graph[module]):
                visit(target, (*trail, module))
            finished.add(module)

    for module in graph:
        visit(module, ())


def torch_free_modules() -> list[str]:
    ground = [m for m in MODULES if package_of(m) == GROUND]
    inside = [m for m in MODULES if any(m == free or m.startswith(free + ".") for free in TORCH_FREE)]
    return ground + inside


@pytest.mark.parametrize("module", torch_free_modules())
def test_lower_floors_name_no_torch(module: str) -> None:
    names = {name.split(".")[0] for name, _ in imported_names(module, MODULES[module], everywhere=True)}
    assert not names & HEAVY


def loaded_by(code: str) -> set[str]:
    """The heavy libraries that a fresh interpreter has loaded after running `code`."""
    script = f"import sys\n{code}\nprint(*({set(HEAVY)!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_segue_loads_no_torch() -> None:
    assert loaded_by("import segue\ndir(segue)\nsegue.__version__") == set()


def test_importing_the_lower_floors_loads_no_torch() -> None:
    assert loaded_by("\n".join(f"import {module}" for module in torch_free_modules())) == set()


def test_public_surface_is_small_and_resolves() -> None:
    assert len(segue.__all__) <= 25
    assert set(segue.__all__) <= set(dir(segue))
    for name, module in segue._PUBLIC.items():
        assert getattr(segue, name) is getattr(importlib.import_module(module), name)


def test_unknown_name_lists_the_public_ones() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lode'; public names: load, "):
        segue.lode  # noqa: B018


@pytest.mark.parametrize(
    ("own", "other", "allowed"),
    [
        ("ground", "ground", True),
        ("ground", "inference", False),
        ("models", "ground", True),
        ("models", "data", False),
        ("data", "inference", False),
        ("inference", "models", True),
        ("training", "evaluation", False),
        ("evaluation", "training", False),
        ("cli", "training", True),
        ("training", "cli", False),
    ],
)
def test_the_rule_itself(own: str, other: str, allowed: bool) -> None:
    assert may_import(own, other) is allowed


@pytest.mark.parametrize(
    ("source", "everywhere", "expected"),
    [
        ("from ..protocol import parse", False, ["segue.protocol.parse"]),
        ("from . import splice", False, ["segue.models.splice"]),
        ("def f():\n    import torch", False, []),
        ("def f():\n    import torch", True, ["torch"]),
        ("try:\n    import peft.tuners as p\nexcept ImportError:\n    p = None", False, ["peft.tuners"]),
    ],
)
def test_imports_are_found(tmp_path: Path, source: str, everywhere: bool, expected: list[str]) -> None:
    path = tmp_path / "losses.py"
    path.write_text(source)
    found = imported_names("segue.models.losses", path, everywhere=everywhere)
    assert [name for name, _ in found] == expected


def test_a_public_name_counts_as_its_module() -> None:
    assert resolve("segue.load") == "segue.inference.session"
