"""Who imports whom: each layer only those to its left, and no module itself through others."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"repertory": ROOT / "src" / "repertory"} | {
    f"repertory.{name}": ROOT / name for name in ("actors", "memory", "tools", "groups")
}

#: from left to right; the modules of one layer may import each other as long as there is no circle
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "ids", "messages", "config"),
    ("llm",),
    ("memory",),
    ("tools",),
    ("actors",),
    ("groups",),
    ("runtime", "maintenance"),
    ("api",),
    ("server",),
    ("cli",),
)


def modules() -> dict[str, Path]:
    """Every module of the package, by its dotted name."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join((package, *parts))
            found[name.removesuffix(".__init__")] = path
    return found


def imports(path: Path, known: dict[str, Path], *, for_types: bool = True) -> dict[str, int]:
    """The modules of the package that `path` imports, at its top or inside functions, with the line.

    `for_types`: also those that are imported for type checkers only.
    """
    found: dict[str, int] = {}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree if for_types else _Running().visit(tree)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            while name and name not in known:
                name = name.rpartition(".")[0]
            if name and not (name == "repertory" and isinstance(node, ast.ImportFrom)):
                found.setdefault(name, node.lineno)
    return found


class _Running(ast.NodeTransformer):
    """Drops what only type checkers see."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.orelse
        return self.generic_visit(node)


def layer(module: str) -> int | None:
    """The number of a module's layer; None for the package itself, which re-exports from all."""
    parts = module.split(".")
    if len(parts) == 1:
        return None
    for number, names in enumerate(LAYERS):
        if parts[1] in names:
            return number
    raise AssertionError(f"{module} belongs to no layer: add it to LAYERS, or move it")


def test_each_module_imports_only_from_its_own_layer_and_those_to_the_left() -> None:
    known = modules()
    wrong = []
    for module, path in known.items():
        mine = layer(module)
        if mine is None:
            continue
        for other, line in imports(path, known).items():
            theirs = layer(other)
            if theirs is None or theirs > mine:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {module} imports {other}")
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_through_others() -> None:
    known = modules()
    graph = {module: sorted(imports(path, known, for_types=False))
             for module, path in known.items() if module != "repertory"}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail[trail.index(module) :], module))
        if module in done or module not in graph:
            return
        for other in graph[module]:
            visit(other, (*trail, module))
        done.add(module)

    for module in graph:
        visit(module, ())


#: the modules that know Ray: what starts it, what carries actors, what opens a system on it
RAY = ("repertory.actors.cluster", "repertory.actors.shell", "repertory.runtime")


def test_ray_is_known_to_few_modules() -> None:
    wrong = []
    for module, path in modules().items():
        if module in RAY:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.split(".")[0] == "ray" for name in names):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not wrong, "\n".join(wrong)
