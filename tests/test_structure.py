"""The tree is what the design says it is: which way imports point, what is public, what an import costs."""

from __future__ import annotations

import ast
import configparser
import importlib
import inspect
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import aichatfree
from aichatfree import errors

PACKAGE = Path(aichatfree.__file__).parent
ROOT = Path(__file__).parent.parent
SOURCES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip("."): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in SOURCES.items()}

LAYERS = ["errors", "core", "transports", "clients", "above"]
CLIENTS = ("base", "client", "stream", "async_client", "async_stream")
SYNC_TRANSPORT = (
    "transports.requests_transport",
    "transports.requests_exchange",
    "transports.urllib3_connections",
    "transports.lookups",
)
ASYNC_TRANSPORT = ("transports.aiohttp_transport", "transports.aiohttp_exchange", "transports.aiohttp_sessions")
MADE_BY_CLIENTS = ("conversation", "mapping", "check")
"""What clients make, or do, for their users: they import it inside the method that does."""


def layer(module: str) -> int:
    head = module.partition(".")[0]
    return LAYERS.index("clients" if head in CLIENTS else head if head in LAYERS else "above")


class Import(NamedTuple):
    """An import: by whom, of what (modules of the package without its name), and whether it happens at import."""

    importer: str
    imported: str
    ours: bool
    at_import: bool

    def __str__(self) -> str:
        return f"{self.importer} imports {self.imported}"


def imports_of(module: str) -> Iterator[Import]:
    parts = module.split(".") if module else []
    package = parts if SOURCES[module].name == "__init__.py" else parts[:-1]
    for node, at_import in walk(TREES[module], True):
        if isinstance(node, ast.Import):
            for alias in node.names:
                assert not alias.name.startswith("aichatfree"), f"{module}: imports inside the package are relative"
                yield Import(module, alias.name, False, at_import)
        elif isinstance(node, ast.ImportFrom):
            if not node.level:
                yield Import(module, node.module or "", False, at_import)
                continue
            base = package[: len(package) - node.level + 1] + (node.module or "").split(".") * bool(node.module)
            for alias in node.names:
                submodule = ".".join([*base, alias.name])
                yield Import(module, submodule if submodule in SOURCES else ".".join(base), True, at_import)


def walk(node: ast.AST, at_import: bool) -> Iterator[tuple[ast.AST, bool]]:
    """Every node, and whether it runs when its module is imported."""
    yield node, at_import
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        at_import = False
    for child in ast.iter_child_nodes(node):
        yield from walk(child, at_import and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


IMPORTS = [found for module in SOURCES for found in imports_of(module)]


def test_the_reader_of_imports_reads() -> None:
    assert Import("client", "base", True, True) in IMPORTS
    assert Import("client", "transports.requests_transport", True, True) in IMPORTS
    assert Import("core.call", "errors", True, True) in IMPORTS
    assert Import("core.retry", "core.payload", True, False) in IMPORTS
    assert Import("transports.requests_transport", "requests", False, True) in IMPORTS
    assert Import("", "core.version", True, False) in IMPORTS


def test_imports_point_one_way() -> None:
    inside = [found for found in IMPORTS if found.ours and found.importer]
    upward = [found for found in inside if layer(found.imported) > layer(found.importer)]
    allowed = [
        found
        for found in upward
        if not found.at_import and found.importer in CLIENTS and found.imported in MADE_BY_CLIENTS
    ]
    assert sorted(set(map(str, upward)) - set(map(str, allowed))) == []


def test_the_package_itself_imports_nothing_of_it() -> None:
    assert [str(found) for found in IMPORTS if found.importer == "" and found.ours and found.at_import] == []


def test_the_transports_know_nothing_of_each_other() -> None:
    for mine, theirs, foreign in (
        (SYNC_TRANSPORT, ASYNC_TRANSPORT, {"aiohttp", "asyncio"}),
        (ASYNC_TRANSPORT, SYNC_TRANSPORT, {"requests", "urllib3"}),
    ):
        found = [each for each in IMPORTS if each.importer in mine]
        assert found, "the modules have other names now"
        assert not {each.imported for each in found} & set(theirs)
        assert not {each.imported.partition(".")[0] for each in found if not each.ours} & foreign
    shared = [each for each in IMPORTS if each.importer == "transports.network"]
    assert not {each.imported.partition(".")[0] for each in shared} & {"aiohttp", "asyncio", "requests", "urllib3"}
    assert set(SYNC_TRANSPORT + ASYNC_TRANSPORT) | {"transports", "transports.network"} == {
        module for module in SOURCES if module.startswith("transports")
    }


WITH_IO = {"requests", "aiohttp", "asyncio", "socket", "urllib3", "http", "select", "threading", "subprocess", "signal"}
WITH_A_CLOCK_OR_CHANCE = {"time", "random", "secrets"}


def test_the_core_does_no_io_and_has_no_clock() -> None:
    core = [found for found in IMPORTS if found.importer == "errors" or found.importer.startswith("core")]
    forbidden = WITH_IO | WITH_A_CLOCK_OR_CHANCE
    assert [str(found) for found in core if not found.ours and found.imported.partition(".")[0] in forbidden] == []
    assert [str(found) for found in core if found.imported == "urllib.request"] == []
    for module, tree in TREES.items():
        if module == "errors" or module.startswith("core"):
            words = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, (ast.Name, ast.Attribute))}
            calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
            assert not words & {"os.environ", "os.getenv", "datetime.now"}, module
            assert not calls & {"open", "print", "input", "sleep", "time", "monotonic"}, module


def test_the_errors_import_nothing_of_the_package() -> None:
    assert [str(found) for found in IMPORTS if found.importer == "errors" and found.ours] == []


# --- What is public -------------------------------------------------------------------------------------------------


def test_all_is_complete_and_importable() -> None:
    assert len(set(aichatfree.__all__)) == len(aichatfree.__all__)
    for name in aichatfree.__all__:
        assert getattr(aichatfree, name) is not None
        assert name in dir(aichatfree)
    (checked,) = (node for node in TREES[""].body if isinstance(node, ast.If) and isinstance(node.test, ast.Name))
    typed = {node.names[0].asname for node in checked.body if isinstance(node, ast.ImportFrom)}
    assert typed | {"__version__"} == set(aichatfree.__all__), "type checkers see what there is"
    assert set(errors.__all__) - {"Phase"} <= set(aichatfree.__all__)


def test_what_is_not_public_is_said_plainly() -> None:
    with pytest.raises(AttributeError, match="module 'aichatfree' has no attribute 'Klient'"):
        aichatfree.Klient  # type: ignore[attr-defined]  # noqa: B018


def test_a_star_import_gives_all() -> None:
    names: dict[str, Any] = {}
    exec("from aichatfree import *", names)
    assert set(aichatfree.__all__) <= set(names)


TREE: dict[str, tuple[str, ...]] = {
    "InvalidRequestError": ("AIChatFreeError", "ValueError"),
    "TransportError": ("AIChatFreeError",),
    "ConnectError": ("TransportError",),
    "RequestTimeoutError": ("TransportError",),
    "StreamInterruptedError": ("TransportError",),
    "APIError": ("AIChatFreeError",),
    "BadRequestError": ("APIError", "InvalidRequestError"),
    "AuthenticationError": ("APIError",),
    "InvalidPasswordError": ("AuthenticationError",),
    "InvalidSignatureError": ("AuthenticationError",),
    "PermissionDeniedError": ("APIError",),
    "NotFoundError": ("APIError",),
    "RateLimitError": ("APIError",),
    "OverloadedError": ("APIError",),
    "ServerError": ("APIError",),
    "RedirectError": ("APIError",),
    "EmptyReplyError": ("AIChatFreeError",),
    "ReplyTooLargeError": ("AIChatFreeError",),
    "AIChatFreeError": ("Exception",),
}
ERRORS: list[type[errors.AIChatFreeError]] = [getattr(errors, name) for name in sorted(TREE)]


def test_the_tree_of_errors() -> None:
    assert {*TREE, "Phase"} == set(errors.__all__)
    assert {node.name for node in TREES["errors"].body if isinstance(node, ast.ClassDef)} == set(TREE)
    for name, bases in TREE.items():
        assert tuple(base.__name__ for base in getattr(errors, name).__bases__) == bases
        assert name in (errors.__doc__ or "")


def test_every_error_is_raised_somewhere() -> None:
    """A leaf of the tree is made by a call, or chosen as the first of a pair with its text."""
    made: set[str] = set()
    for module, tree in TREES.items():
        if module == "errors":
            continue
        for node in ast.walk(tree):
            chosen = node.func if isinstance(node, ast.Call) else None
            if isinstance(node, ast.Tuple) and len(node.elts) == 2 and not isinstance(node.elts[1], ast.Name):
                chosen = node.elts[0]
            if isinstance(chosen, ast.Name):
                made.add(chosen.id)
    leaves = {kind.__name__ for kind in ERRORS if not kind.__subclasses__()}
    assert leaves | {"AuthenticationError", "APIError", "InvalidRequestError"} <= made


def attributes_of(kind: type[errors.AIChatFreeError]) -> set[str]:
    """What the docstrings of an error and its bases promise."""
    sections = [inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")[2] for base in kind.__mro__]
    return set(re.findall(r"^ {4}(\w+): ", "\n".join(sections), re.MULTILINE))


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_survive_pickling_with_all_their_attributes(kind: type[errors.AIChatFreeError]) -> None:
    earlier = errors.ConnectError("earlier")
    error = kind("what went wrong")
    named = attributes_of(kind)
    assert {"partial", "attempts"} <= named
    for name in named:
        assert hasattr(error, name), f"{kind.__name__}.{name} is documented"
        setattr(error, name, f"the value of {name}")
    error.attempts = (earlier,)
    restored = pickle.loads(pickle.dumps(error))
    assert type(restored) is kind
    assert (restored.args, str(restored)) == (error.args, "what went wrong")
    assert {**vars(restored), "attempts": None} == {**vars(error), "attempts": None}
    assert repr(restored.attempts) == repr((earlier,))


def test_api_errors_have_what_the_design_names() -> None:
    named = {"status_code", "code", "message", "body", "headers", "upstream_status", "retry_after"}
    assert named <= attributes_of(errors.APIError)
    assert "phase" in attributes_of(errors.RequestTimeoutError)


def public_definitions() -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    def look(where: str, body: list[ast.stmt]) -> Iterator[tuple[str, Any]]:
        for node in body:
            if not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            is_setter = any(ast.unparse(decorator).endswith(".setter") for decorator in node.decorator_list)
            if node.name[0] != "_" and not is_setter:
                yield f"{where}.{node.name}", node
                if isinstance(node, ast.ClassDef):
                    yield from look(f"{where}.{node.name}", node.body)

    for module, tree in TREES.items():
        yield from look(module, tree.body)


def test_everything_public_is_documented() -> None:
    assert [module for module, tree in TREES.items() if not ast.get_docstring(tree)] == []
    assert [name for name, node in public_definitions() if not ast.get_docstring(node)] == []


# --- Twins ----------------------------------------------------------------------------------------------------------

TWINS = [("client", "Client"), ("client", "Stream"), ("conversation", "Conversation")]
PAIRS = {
    "close": "aclose",
    "__enter__": "__aenter__",
    "__exit__": "__aexit__",
    "__iter__": "__aiter__",
    "__next__": "__anext__",
}


def face(kind: type) -> dict[str, list[tuple[str, Any, Any]] | None]:
    """The public names of a class, and the parameters of those that are called."""
    shown: dict[str, list[tuple[str, Any, Any]] | None] = {}
    for name in dir(kind):
        value = inspect.getattr_static(kind, name)
        if name.startswith("_") and name not in {*PAIRS, *PAIRS.values(), "__init__", "__repr__", "__reduce__"}:
            continue
        called = inspect.isroutine(value) or isinstance(value, (classmethod, staticmethod))
        parameters = inspect.signature(getattr(kind, name)).parameters.values() if called else None
        shown[name] = parameters and [(each.name, each.kind, each.default) for each in parameters]
    return shown


@pytest.mark.parametrize(("module", "name"), TWINS)
def test_twins_have_the_same_face(module: str, name: str) -> None:
    sync = face(getattr(importlib.import_module(f"aichatfree.{module}"), name))
    home = "async_client" if module == "client" else module
    twin = face(getattr(importlib.import_module(f"aichatfree.{home}"), f"Async{name}"))
    if name == "Client":
        extra = [each for each in twin["__init__"] or [] if each[0] == "connector"]
        assert [each[2] for each in extra] == [None]
        twin["__init__"] = [each for each in twin["__init__"] or [] if each[0] != "connector"]
    assert {PAIRS.get(key, key): value for key, value in sync.items()} == twin


@pytest.mark.parametrize(("module", "name"), TWINS)
def test_only_synchronous_objects_have_synchronous_context_managers(module: str, name: str) -> None:
    sync = getattr(importlib.import_module(f"aichatfree.{module}"), name)
    home = "async_client" if module == "client" else module
    twin = getattr(importlib.import_module(f"aichatfree.{home}"), f"Async{name}")
    assert not any(hasattr(sync, each) for each in PAIRS.values())
    assert not any(hasattr(twin, each) for each in PAIRS)


# --- What an import costs -------------------------------------------------------------------------------------------

HEAVY = {"requests", "urllib3", "aiohttp", "asyncio", "ssl", "socket", "hashlib", "dataclasses", "http", "email"}


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter loads for some code, beside those that it has loaded before."""
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import logging\nbefore = set(sys.modules)\n{code}\n"
    script += "import json; print(json.dumps(sorted(set(sys.modules) - before)))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(json.loads(done.stdout)) - {"json", "json.decoder", "json.encoder", "json.scanner", "_json"}


def test_importing_the_package_imports_next_to_nothing() -> None:
    loaded = loaded_by("import aichatfree; dir(aichatfree); aichatfree.__all__")
    assert {name for name in loaded if name.startswith("aichatfree")} == {"aichatfree"}
    assert not {name.partition(".")[0] for name in loaded} & HEAVY


def test_a_name_imports_only_what_it_needs() -> None:
    for name, needed in (("RateLimitError", {"errors"}), ("generate_signature", {"errors", "core", "core.signing"})):
        loaded = loaded_by(f"from aichatfree import {name}")
        assert {each for each in loaded if each.startswith("aichatfree.")} == {f"aichatfree.{each}" for each in needed}
        assert not loaded & {"requests", "aiohttp", "asyncio", "ssl"}


def test_the_core_loads_nothing_of_the_network() -> None:
    loaded = loaded_by("from aichatfree import Timeout, RetryPolicy, Message, Stats; import aichatfree.core.call")
    assert "aichatfree.core.settings" in loaded
    assert not {name.partition(".")[0] for name in loaded} & {"ssl", "requests", "urllib3", "aiohttp", "asyncio"}


def test_each_client_imports_only_its_own_library() -> None:
    assert not loaded_by("from aichatfree import Client") & {"aiohttp", "aichatfree.async_client"}
    assert not loaded_by("from aichatfree import AsyncClient") & {"requests", "aichatfree.client"}


def test_a_client_imports_no_heavy_helpers() -> None:
    own = loaded_by("from aichatfree import Client") - loaded_by("import requests")
    assert "aichatfree.client" in own
    assert not own & {"dataclasses", "inspect", "concurrent.futures"}


def test_importing_changes_nothing_but_a_quiet_logger() -> None:
    code = (
        "import logging, os, warnings, requests, aiohttp\n"
        "state = lambda: (dict(os.environ), list(warnings.filters), logging.root.handlers[:], logging.root.level)\n"
        "old = state()\n"
        "import aichatfree; from aichatfree import Client, AsyncClient\n"
        "assert state() == old\n"
        "assert [type(h).__name__ for h in logging.getLogger('aichatfree').handlers] == ['NullHandler']\n"
    )
    assert "aichatfree.client" in loaded_by(code)


# --- One place for each thing ---------------------------------------------------------------------------------------


def test_the_version_stands_in_one_place() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    version = config["metadata"]["version"]
    assert version[0].isdigit()
    sources = [*SOURCES.values(), ROOT / "setup.py"]
    constants = {
        node.value
        for path in sources
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert version not in constants
    assert isinstance(aichatfree.__version__, str)


def test_the_package_is_marked_as_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


MAX_LINES = 330


def test_no_file_is_too_long() -> None:
    lengths = {path.relative_to(PACKAGE): len(path.read_text("utf-8").splitlines()) for path in SOURCES.values()}
    assert {str(path): lines for path, lines in lengths.items() if lines > MAX_LINES} == {}
