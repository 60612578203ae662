"""Which package may import which, as docs/architecture.md has it."""
import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def imported_by(package: str) -> set[str]:
    """The first part of each module's name that the package's files import, wherever in the file."""
    names = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    return names


def test_arrows_never_run_back():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    may_import = {package: set(re.findall(r"\w+", allowed))
                  for package, allowed in re.findall(r"^\| `(\w+)/` \|.*\| (.*) \|$", text, re.MULTILINE)}
    assert {"training", "benchmark", "data", "media", "model", "common"} <= may_import.keys()

    def below(package: str) -> set[str]:
        """Fails without end where the table itself runs in a circle."""
        named = may_import[package] & may_import.keys()
        return named.union(*map(below, named))

    for package in may_import:
        assert imported_by(package) & may_import.keys() <= below(package) | {package}, package
