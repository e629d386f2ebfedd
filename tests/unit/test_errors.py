"""Compare the exceptions of the code with the error tree drawn in coordd.errors."""

from __future__ import annotations

import ast
import builtins
import importlib
import re
from pathlib import Path

import pytest

import coordd
from coordd import errors

PACKAGE = Path(coordd.__file__).resolve().parent
DRAWN, INTERNAL = str(errors.__doc__).split("Exceptions outside the tree")


def defined() -> dict[str, tuple[str, str]]:
    """Return every exception class of coordd: name to (base, module below ``coordd.``)."""
    classes = {
        node.name: (ast.unparse(node.bases[0]), ".".join(path.relative_to(PACKAGE).with_suffix("").parts))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and node.bases
    }

    def raises(name: str) -> bool:
        kind = getattr(builtins, name, None)
        if isinstance(kind, type):
            return issubclass(kind, BaseException)
        return name in classes and raises(classes[name][0])

    return {name: found for name, found in classes.items() if raises(name)}


def drawn() -> dict[str, tuple[str, str, int]]:
    """Return the tree as drawn: name to (base, module below ``coordd.``, exit code)."""
    found: dict[str, tuple[str, str, int]] = {}
    path: list[str] = ["CoorddError"]
    for line in DRAWN.splitlines():
        if match := re.fullmatch(r"    ([│ ]*)[├└]── (\w+) +(.*?) +exit (\d+)", line):
            depth = len(match[1]) // 4 + 1
            where = re.search(r"\(([\w.]+)\)$", match[3])
            found[match[2]] = (path[depth - 1], where[1] if where else "errors", int(match[4]))
            path[depth:] = [match[2]]
    return found


def internal() -> set[str]:
    return set(re.findall(r"^([A-Z][A-Za-z]+)  ", INTERNAL, re.MULTILINE))


def test_the_tree_is_drawn_as_it_is() -> None:
    tree = {name: (base, module) for name, (base, module) in defined().items() if name not in internal()}
    assert tree.pop("CoorddError") == ("Exception", "errors")
    assert {name: (base, module) for name, (base, module, _) in drawn().items()} == tree


def test_internal_exceptions_are_named_and_stand_outside_the_tree() -> None:
    found = defined()
    assert internal() <= found.keys()
    assert not {found[name][0] for name in internal()} & {"CoorddError", *drawn()}
    for name in internal():
        assert re.search(rf"^{name} +{re.escape(found[name][1])} ", INTERNAL, re.MULTILINE), name


@pytest.mark.parametrize("name", sorted(drawn()))
def test_exit_codes_are_drawn_as_they_are(name: str) -> None:
    _, module, code = drawn()[name]
    kind = getattr(importlib.import_module(f"coordd.{module}"), name)
    assert kind.exit_code == code
