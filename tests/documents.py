"""Markdown files of the project, their blocks, and what can be told of a command without running it.

The second word of a fence says what a reader may expect: `bash run` works as written in a fresh clone,
`bash run-slow` too but takes minutes or an index of packages, `bash check` needs data, weights, GPUs or a
server of the reader's. The same for `python`. `json` and `text` hold no commands.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MARKS = ("run", "run-slow", "check")
# Beside `segue`, `python`, `make` and scripts of ours, a block may call these, which nothing here looks into.
OTHER_PROGRAMS = frozenset({"accelerate", "cd", "docker", "export", "hf", "pip", "source", "torchrun"})


@dataclass(frozen=True)
class Block:
    """A fenced block: file from the root, line of its fence, words of the fence, text."""

    file: str
    line: int
    language: str
    mark: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"


def markdown_files() -> list[str]:
    """Every Markdown file of the project, those not yet committed too; the change log names what is gone."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z", "*.md"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    names = [name for name in listed.stdout.decode().split("\0") if name]
    if not names:  # no git checkout: an unpacked archive
        folders = ("docs", "examples", "recipes", "src", "tests")
        names = [str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).rglob("*.md")]
        names += [path.name for path in ROOT.glob("*.md")]
    return sorted({name for name in names if name != "CHANGELOG.md" and (ROOT / name).is_file()})


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks_of(name: str, text: str | None = None) -> list[Block]:
    """The fenced blocks of a file, in order."""
    found, opened, body = [], None, list[str]()
    for number, line in enumerate((read(name) if text is None else text).splitlines(), 1):
        if line.startswith("```"):
            if opened is None:
                opened, body = (number, line[3:].split()), []
            else:
                words = [*opened[1], "", ""]
                found.append(Block(name, opened[0], words[0], words[1], "\n".join(body)))
                opened = None
        elif opened is not None:
            body.append(line)
    return found


def without_blocks(text: str) -> str:
    """The text with fenced blocks blanked, line numbers kept."""
    return re.sub(
        r"^```.*?^```$", lambda m: "\n" * m.group().count("\n"), text, flags=re.MULTILINE | re.DOTALL
    )


def form_faults(block: Block) -> Iterator[str]:
    """What is wrong with a block's fence, or with its text taken for what the fence says."""
    if block.language in ("bash", "python"):
        if block.mark not in MARKS:
            yield f"{block.place}: ```{block.language} {block.mark} needs one of {', '.join(MARKS)}"
    elif block.language == "json":
        try:
            json.loads(block.text)
        except ValueError as error:
            yield f"{block.place}: no JSON: {error}"
    elif block.language == "text":
        if re.search(r"^\s*(\$ )?(segue|python|pip|make) ", block.text, re.MULTILINE):
            yield f"{block.place}: a command in a block of text: nothing would check it"
    else:
        yield f"{block.place}: ```{block.language} is none of bash, python, json, text"


def indented_code(name: str) -> Iterator[str]:
    """Code that is only indented, which carries no mark. Indented lines of a list are none."""
    lines = without_blocks(read(name)).splitlines()
    for number, (above, line) in enumerate(zip(["", *lines], lines, strict=False), 1):
        if line.startswith("    ") and not above.strip():
            yield f"{name}:{number}: an indented block; use a fence with a mark"


# ---------------------------------------------------------------------------------------- command lines
def command_lines(text: str) -> Iterator[list[str]]:
    """The words of each command of a shell text; comments and continuations resolved, `&&` divided."""
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        while "&&" in words:
            yield words[: words.index("&&")]
            words = words[words.index("&&") + 1 :]
        if words:
            yield words


def command_fault(words: list[str]) -> str | None:
    """Why a command cannot work, found out without running it; None if nothing speaks against it."""
    program = words[0].removeprefix(".venv/bin/")
    if program == "segue":
        return segue_fault(words[1:])
    if program in ("torchrun", "accelerate", "python") and "-m" in words:
        module, arguments = words[words.index("-m") + 1], words[words.index("-m") + 2 :]
        return segue_fault(arguments) if module == "segue.cli" else module_fault(module, arguments)
    if program == "make":
        targets = re.findall(r"^([a-z][a-z-]*):", read("Makefile"), re.MULTILINE)
        unknown = [word for word in words[1:] if "=" not in word and word not in targets]
        return f"no such target: {', '.join(unknown)}" if unknown else None
    script = next((word for word in words[:2] if word.endswith((".py", ".sh"))), None)
    if script is not None:
        return None if (ROOT / script).is_file() else f"no such script: {script}"
    return None if program in OTHER_PROGRAMS else f"a program that nothing checks: {program}"


def segue_fault(arguments: list[str]) -> str | None:
    """What the real command line says against these arguments before it does anything."""
    import typer

    from segue.cli import app

    command, parent, name = typer.main.get_command(app), None, "segue"
    while True:
        try:
            context: Any = command.make_context(name, list(arguments), parent=parent)
            if not hasattr(command, "resolve_command"):
                return None
            rest = [*context._protected_args, *context.args]
            name, command, arguments = command.resolve_command(context, rest)
            parent = context
        except Exception as error:
            if type(error).__name__ == "Exit":  # --help and --version end it
                return None
            message = getattr(error, "format_message", error.__str__)()
            return f"{name}: {message}"


class _Parsed(Exception):
    """The arguments were understood; what follows would be the work itself."""


def module_fault(module: str, arguments: list[str]) -> str | None:
    """What `python -m module arguments` would say before its work; others' modules are left alone."""
    if module.split(".")[0] != "segue":
        return None
    try:
        main = importlib.import_module(module).main
    except (ImportError, AttributeError) as error:
        return f"python -m {module}: {error}"
    # A function that typer.run turns into a command; `arguments` are words for argparse, for tests.
    if set(inspect.signature(main).parameters) - {"arguments"}:
        return _typer_fault(main, module, arguments)
    parse, exit_, argv = argparse.ArgumentParser.parse_args, argparse.ArgumentParser.error, sys.argv

    def parse_and_stop(parser: argparse.ArgumentParser, *given: Any, **named: Any) -> None:
        parse(parser, *given, **named)
        raise _Parsed

    def fail(parser: argparse.ArgumentParser, message: str) -> None:
        raise ValueError(message)

    try:
        argparse.ArgumentParser.parse_args = parse_and_stop  # type: ignore[method-assign,assignment]
        argparse.ArgumentParser.error = fail  # type: ignore[method-assign,assignment]
        sys.argv = [module, *arguments]
        main()
    except _Parsed:
        return None
    except ValueError as error:
        return f"python -m {module}: {error}"
    finally:
        argparse.ArgumentParser.parse_args, argparse.ArgumentParser.error = parse, exit_  # type: ignore[method-assign]
        sys.argv = argv
    return f"python -m {module} reads no arguments"


def _typer_fault(main: Any, module: str, arguments: list[str]) -> str | None:
    import typer

    app = typer.Typer(add_completion=False)
    app.command()(main)
    try:
        typer.main.get_command(app).make_context(module, list(arguments))
    except Exception as error:
        return f"python -m {module}: {getattr(error, 'format_message', error.__str__)()}"
    return None


def mentioned_fault(words: list[str]) -> str | None:
    """What is wrong with a command that a sentence names (`segue data stats --out`): its verbs and flags."""
    import typer

    from segue.cli import app

    command: Any = typer.main.get_command(app)
    flags: set[str] = {"-h", "--help"}
    for word in words:
        inner = getattr(command, "commands", {}).get(word)
        if inner is not None:
            command = inner
        flags |= {
            name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)
        }
    if command.name in (None, "segue") and words and re.fullmatch(r"[a-z][\w-]*", words[0]):
        return f"no such verb: {words[0]}"
    unknown = [word for word in words if re.match(r"--?[a-z]", word) and word.split("=")[0] not in flags]
    return f"segue {' '.join(words)}: no {', '.join(unknown)}" if unknown else None


# ---------------------------------------------------------------------------------------- Python blocks
def python_faults(text: str) -> Iterator[str]:
    """Names that a Python block imports or reaches through them and that do not exist; wrong calls."""
    tree = ast.parse(text)
    known: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                module = importlib.import_module(alias.name)
                known[alias.asname or alias.name.split(".")[0]] = (
                    module if alias.asname else importlib.import_module(alias.name.split(".")[0])
                )
        elif isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                if not hasattr(module, alias.name):
                    yield f"line {node.lineno}: {node.module} has no {alias.name}"
                else:
                    known[alias.asname or alias.name] = getattr(module, alias.name)
    assigned = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}

    def value_of(node: ast.AST) -> Any:
        if isinstance(node, ast.Name) and node.id in known and node.id not in assigned:
            return known[node.id]
        if isinstance(node, ast.Attribute):
            owner = value_of(node.value)
            return getattr(owner, node.attr, _MISSING) if inspect.ismodule(owner) else None
        return None

    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and value_of(node) is _MISSING:
            yield f"line {node.lineno}: no such name: {ast.unparse(node)}"
        elif isinstance(node, ast.Call) and callable(value_of(node.func)):
            starred = any(isinstance(a, ast.Starred) for a in node.args) or any(
                k.arg is None for k in node.keywords
            )
            if not starred:
                yield from _call_faults(node, value_of(node.func))


_MISSING = object()


def _call_faults(node: ast.Call, function: Any) -> Iterator[str]:
    try:
        inspect.signature(function).bind(*node.args, **{str(k.arg): k.value for k in node.keywords})
    except TypeError as error:
        yield f"line {node.lineno}: {ast.unparse(node.func)}: {error}"
    except ValueError:  # a builtin without a signature
        return
