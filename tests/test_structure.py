"""The tree is what the design says it is: which way imports point, what is public, what an import costs."""

from __future__ import annotations

import ast
import configparser
import difflib
import importlib
import inspect
import json
import pickle
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import aichatfree
from aichatfree import errors
from aichatfree.server import LocalServer

PACKAGE = Path(aichatfree.__file__).parent
ROOT = Path(__file__).parent.parent
SOURCES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip("."): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in SOURCES.items()}

LAYERS = [
    {"errors"},
    {"_core.wire"},
    {"_core"},
    {"_sync", "_async"},
    {"provider", "server", "gateway", "integrations"},
    {"testing"},
    {"cli"},
]
"""From the ground up; what stands in one set does not know its neighbours, but for the exceptions below."""
NEIGHBOURS = {("gateway", "server")}
"""The gateway runs in a thread as the local server does."""
WINGS = ("_sync", "_async")


def room(module: str) -> str:
    parts = module.split(".")
    return "_core.wire" if parts[:2] == ["_core", "wire"] else parts[0]


def layer(module: str) -> int:
    (found,) = (number for number, rooms in enumerate(LAYERS) if room(module) in rooms)
    return found


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
    """Every statement, and whether it runs when its module is imported."""
    yield node, at_import
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        at_import = False
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.stmt, ast.ExceptHandler, ast.match_case)):
            yield from walk(child, at_import and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


IMPORTS = [found for module in SOURCES for found in imports_of(module)]


def test_the_reader_of_imports_reads() -> None:
    assert Import("_sync.client", "_core.client", True, True) in IMPORTS
    assert Import("_sync.client", "_sync.transport.transport", True, True) in IMPORTS
    assert Import("_core.call", "errors", True, True) in IMPORTS
    assert Import("_core.retry", "_core.wire.requests", True, False) in IMPORTS
    assert Import("_sync.transport.transport", "requests", False, True) in IMPORTS
    assert Import("", "_core.version", True, False) in IMPORTS


INSIDE = [found for found in IMPORTS if found.ours and found.importer not in ("", "__main__") and found.imported]


def test_imports_point_down() -> None:
    wrong = [
        found
        for found in INSIDE
        if room(found.importer) != room(found.imported)
        and layer(found.imported) >= layer(found.importer)
        and (room(found.importer), room(found.imported)) not in NEIGHBOURS
    ]
    assert [str(found) for found in wrong] == []


def test_the_server_knows_of_the_core_only_the_wire() -> None:
    own = [found for found in INSIDE if room(found.importer) == "server" and room(found.imported) != "server"]
    assert [str(found) for found in own if room(found.imported) not in ("errors", "_core.wire")] == []


def test_files_do_not_import_each_other_in_circles() -> None:
    """At run time and under TYPE_CHECKING: what an import inside a function brings counts as well."""
    known: dict[str, set[str]] = {}
    for found in INSIDE:
        if SOURCES[found.importer].name != "__init__.py":
            known.setdefault(found.importer, set()).add(found.imported)

    def reachable(module: str) -> set[str]:
        seen: set[str] = set()
        waiting = [*known.get(module, ())]
        while waiting:
            if (each := waiting.pop()) not in seen:
                seen.add(each)
                waiting += known.get(each, ())
        return seen

    assert [module for module in known if module in reachable(module)] == []


def test_the_package_itself_imports_nothing_of_it() -> None:
    assert [str(found) for found in IMPORTS if found.importer == "" and found.ours and found.at_import] == []


@pytest.mark.parametrize(
    ("mine", "foreign"), [("_sync", {"aiohttp", "asyncio"}), ("_async", {"requests", "urllib3", "http"})]
)
def test_a_wing_knows_only_its_own_library(mine: str, foreign: set[str]) -> None:
    found = [each for each in IMPORTS if room(each.importer) == mine and not each.ours]
    assert found, "the wings have other names now"
    assert not {each.imported.partition(".")[0] for each in found} & foreign


WITH_IO = {"requests", "aiohttp", "asyncio", "socket", "urllib3", "http", "select", "subprocess", "signal"}


def test_the_core_does_no_io_and_never_waits() -> None:
    core = [found for found in IMPORTS if found.importer == "errors" or found.importer.startswith("_core")]
    assert [str(found) for found in core if not found.ours and found.imported.partition(".")[0] in WITH_IO] == []
    with_a_clock = {found.importer for found in core if found.imported in ("time", "random", "secrets")}
    assert with_a_clock == {"_core.client"}, "the clocks of the clients are made in one place"
    for module, tree in TREES.items():
        if module == "errors" or module.startswith("_core"):
            calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
            assert not calls & {"open", "print", "input", "sleep", "time.sleep"}, module
    reads_the_environment = {
        module
        for module, tree in TREES.items()
        if module.startswith("_core")
        and "os.environ" in {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    }
    assert reads_the_environment == {"_core.client", "_core.network"}


def test_the_errors_import_nothing_of_the_package() -> None:
    assert [str(found) for found in IMPORTS if found.importer == "errors" and found.ours] == []


# --- What is public -------------------------------------------------------------------------------------------------


def test_all_is_complete_and_importable() -> None:
    assert len(set(aichatfree.__all__)) == len(aichatfree.__all__)
    for name in aichatfree.__all__:
        assert getattr(aichatfree, name) is not None
        assert name in dir(aichatfree)
    checked = next(node for node in TREES[""].body if isinstance(node, ast.If) and isinstance(node.test, ast.Name))
    typed = {node.names[0].asname for node in checked.body if isinstance(node, ast.ImportFrom)}
    assert typed | {"__version__"} == set(aichatfree.__all__), "type checkers see what there is"
    assert set(errors.__all__) - {"Phase"} <= set(aichatfree.__all__)


def test_what_is_not_public_is_said_plainly() -> None:
    with pytest.raises(AttributeError, match=r"module 'aichatfree' has no attribute 'Klient'\. Did you mean: 'Client'"):
        aichatfree.Klient  # type: ignore[attr-defined]  # noqa: B018


def test_a_star_import_gives_all() -> None:
    names: dict[str, Any] = {}
    exec("from aichatfree import *", names)
    assert set(aichatfree.__all__) <= set(names)


PUBLIC = {
    "aichatfree": """
        AIChatFree AIChatFreeError APIError AsyncClient AsyncConversation AsyncExchange AsyncGeneratorProvider
        AsyncStream AsyncTransport AuthenticationError BadRequestError CheckReport CheckResult Client
        ConnectError Conversation Deadline EmptyReplyError Exchange InvalidPasswordError InvalidRequestError
        InvalidSignatureError MapResult Message NotFoundError Options OverloadedError PermissionDeniedError
        ProviderModelMixin RateLimitError RedirectError ReplyTooLargeError Request RequestTimeoutError
        RetryPolicy ServerError Stats Stream StreamInterruptedError Timeout Transport TransportError
        __version__ generate_signature
    """,
    "aichatfree.errors": """
        AIChatFreeError APIError AuthenticationError BadRequestError ConnectError EmptyReplyError InvalidPasswordError
        InvalidRequestError InvalidSignatureError NotFoundError OverloadedError PermissionDeniedError Phase
        RateLimitError RedirectError ReplyTooLargeError RequestTimeoutError ServerError StreamInterruptedError
        TransportError
    """,
    "aichatfree.gateway": "LocalGateway create_app",
    "aichatfree.provider": "AIChatFree AsyncGeneratorProvider ProviderModelMixin",
    "aichatfree.server": "Gemini LocalServer Ollama OpenAICompatible create_app run",
    "aichatfree.testing": """
        AsyncMemoryTransport BrokenChunk BrokenEncoding Drop Fault Garbage Headers Informational MemoryTransport
        OversizedHeaders Pause ProxyServer RecordedRequest Repeat Reply ScriptedServer Stall WrongLength
    """,
}
"""Every public name; one joins on purpose."""


@pytest.mark.parametrize("package", PUBLIC)
def test_every_public_name(package: str) -> None:
    module = importlib.import_module(package)
    assert sorted(module.__all__) == PUBLIC[package].split()


@pytest.mark.parametrize("name", [name for name in aichatfree.__all__ if name != "__version__"])
def test_public_names_say_where_they_are_found(name: str) -> None:
    value = getattr(aichatfree, name)
    assert value.__module__ in ("aichatfree", "aichatfree.errors")
    assert getattr(importlib.import_module(value.__module__), name) is value
    assert pickle.loads(pickle.dumps(value)) is value


@pytest.mark.parametrize("name", [name for name in aichatfree.__all__ if name != "__version__"])
def test_annotations_can_be_read(name: str) -> None:
    value = getattr(aichatfree, name)
    typing.get_type_hints(value)
    for member in vars(value).values() if isinstance(value, type) else ():
        if inspect.isfunction(member):
            typing.get_type_hints(member)


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
            is_test = node.name.startswith("test_")  # of the conformance suite: the names say it
            if node.name[0] != "_" and not is_setter and not is_test:
                yield f"{where}.{node.name}", node
                if isinstance(node, ast.ClassDef):
                    yield from look(f"{where}.{node.name}", node.body)

    for module, tree in TREES.items():
        yield from look(module, tree.body)


def test_everything_public_is_documented() -> None:
    assert [module for module, tree in TREES.items() if not ast.get_docstring(tree)] == []
    assert [name for name, node in public_definitions() if not ast.get_docstring(node)] == []


# --- Twins ----------------------------------------------------------------------------------------------------------

TWINS = sorted(name.removeprefix("_sync.") for name in SOURCES if name.startswith("_sync.") and "transport" not in name)

NAMES = {
    **{f"Async{name}": name for name in ("Client", "Stream", "Conversation", "Transport", "Exchange", "Whole")},
    "AsyncGenerator": "Generator",
    "AiohttpTransport": "RequestsTransport",
    "StopAsyncIteration": "StopIteration",
    "RuntimeError": "ValueError",  # what a generator that is running raises when it is closed
    "aclose": "close",
    "asend": "send",
    "athrow": "throw",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "anext": "next",
    "aiohttp": "requests",
    "ClientSession": "Session",
}
"""How the synchronous wing calls what has another name in the asynchronous one."""


class WithoutColour(ast.NodeTransformer):
    """A module without ``await``, ``async``, docstrings, and with the names of the synchronous wing."""

    def visit(self, node: ast.AST) -> Any:
        for field in ("name", "id", "attr", "arg", "asname"):
            if isinstance(value := getattr(node, field, None), str):
                setattr(node, field, NAMES.get(value, value))
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = " ".join(NAMES.get(word, word) for word in re.split(r"\W+", node.value))
        self.generic_visit(node)
        if isinstance(node, ast.Await):
            return node.value
        for coloured, plain in (
            (ast.AsyncFunctionDef, ast.FunctionDef),
            (ast.AsyncWith, ast.With),
            (ast.AsyncFor, ast.For),
        ):
            if isinstance(node, coloured):
                node = ast.copy_location(plain(**dict(ast.iter_fields(node))), node)
        if isinstance(node, ast.comprehension):
            node.is_async = 0
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Generator":
            node.slice = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) else node.slice
        return node


ASYNC_ONLY = {
    "client": {"connector": "aiohttp has connectors apart from sessions, requests has not", "AsyncIterable": "prompts"},
    "map": {"AsyncIterable": "prompts may come from an asynchronous generator"},
}
"""What the asynchronous wing has more: names that lines of it, and only of it, may contain, and why."""


def colourless(module: str) -> list[str]:
    tree = WithoutColour().visit(ast.parse(SOURCES[module].read_text("utf-8")))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    tree.body.sort(key=lambda node: (not isinstance(node, (ast.Import, ast.ImportFrom)), 0))
    imports = {ast.unparse(node) for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))}
    rest = [node for node in tree.body if not isinstance(node, (ast.Import, ast.ImportFrom))]
    return [*sorted(imports), *ast.unparse(ast.Module(rest, [])).splitlines()]


def test_the_wings_have_the_same_files() -> None:
    files = [{name.removeprefix(wing) for name in SOURCES if name.startswith(f"{wing}.")} for wing in WINGS]
    assert {name for name in files[0] ^ files[1] if "transport." not in name} == set()
    assert TWINS


@pytest.mark.parametrize("module", TWINS)
def test_twins_differ_by_await_alone(module: str) -> None:
    sync, twin = colourless(f"_sync.{module}"), colourless(f"_async.{module}")
    allowed = ASYNC_ONLY.get(module, {})
    differing = [line for line in difflib.ndiff(sync, twin) if line[0] in "+-"]
    unexplained = [line for line in differing if not any(word in line for word in allowed)]
    if allowed:  # the lines of the synchronous wing that those stand for
        added = {line[2:].strip() for line in differing if line[0] == "+"}
        unexplained = [
            line for line in unexplained if line[0] == "+" or not any(is_like(line[2:], other) for other in added)
        ]
    assert unexplained == []


def is_like(line: str, other: str) -> bool:
    return difflib.SequenceMatcher(None, line.strip(), other).ratio() > 0.6


def test_the_comparison_of_twins_sees_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "stream.py"
    source = SOURCES["_async.stream"].read_text("utf-8")
    assert "call.restart()" in source
    changed.write_text(source.replace("call.restart()", "pass"), "utf-8")
    monkeypatch.setitem(SOURCES, "_async.stream", changed)
    assert colourless("_async.stream") != colourless("_sync.stream")


PAIRS = {
    "close": "aclose",
    "__enter__": "__aenter__",
    "__exit__": "__aexit__",
    "__iter__": "__aiter__",
    "__next__": "__anext__",
}


@pytest.mark.parametrize("name", ["Client", "Stream", "Conversation"])
def test_only_synchronous_objects_have_synchronous_context_managers(name: str) -> None:
    sync, twin = getattr(aichatfree, name), getattr(aichatfree, f"Async{name}")
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


SIGNING = {"_core", "_core.wire", "_core.wire.signing"}


def test_a_name_imports_only_what_it_needs() -> None:
    for name, needed in (
        ("RateLimitError", {"errors"}),
        ("generate_signature", {"errors", *SIGNING}),
    ):
        loaded = loaded_by(f"from aichatfree import {name}")
        assert {each for each in loaded if each.startswith("aichatfree.")} == {f"aichatfree.{each}" for each in needed}
        assert not loaded & {"requests", "aiohttp", "asyncio", "ssl"}


def test_the_core_loads_nothing_of_the_network() -> None:
    loaded = loaded_by("from aichatfree import Timeout, RetryPolicy, Message, Stats; import aichatfree._core.call")
    assert "aichatfree._core.settings" in loaded
    assert not {name.partition(".")[0] for name in loaded} & {"ssl", "requests", "urllib3", "aiohttp", "asyncio"}


def test_each_client_imports_only_its_own_library() -> None:
    assert not loaded_by("from aichatfree import Client") & {"aiohttp", "aichatfree._async"}
    assert not loaded_by("from aichatfree import AsyncClient") & {"requests", "aichatfree._sync"}


def test_a_client_imports_no_heavy_helpers() -> None:
    own = loaded_by("from aichatfree import Client") - loaded_by("import requests")
    assert "aichatfree._sync.client" in own
    assert not own & {"dataclasses", "inspect", "concurrent.futures"}


def loaded_by_the_command(*args: str, home: Path) -> set[str]:
    """What a command loads in an environment of its own; its output goes nowhere."""
    code = (
        "import io, os; os.environ = {'HOME': %r}; sys.stdout = io.StringIO()\n"
        "from aichatfree.cli import main; status = main(%r); sys.stdout = sys.__stdout__; assert status == 0, status"
    )
    return loaded_by(code % (str(home), list(args)))


def test_the_version_of_the_command_costs_nothing(tmp_path: Path) -> None:
    loaded = loaded_by_the_command("--version", home=tmp_path) - {"__future__"}  # where coverage has not loaded that
    assert loaded == {"aichatfree", "aichatfree.cli"}


NOT_FOR_ASK = {
    *("aiohttp", "asyncio", "concurrent", "dataclasses", "difflib", "getpass", "html", "logging.handlers"),
    *("markdown_it", "multiprocessing", "platformdirs", "prometheus_client", "prompt_toolkit", "rich", "sqlite3"),
    *("subprocess", "tomllib"),
}


def test_a_question_loads_no_more_than_it_needs(tmp_path: Path) -> None:
    """Beside the two libraries that it stands on; with the conversation kept, as there is one."""
    with LocalServer("Hello!") as server:
        loaded = loaded_by_the_command("ask", "x", "--base-url", server.url, home=tmp_path)
    assert list(tmp_path.rglob("conversations/*.json")), "the conversation is kept"
    own = loaded - loaded_by("import requests, click")
    assert "aichatfree.cli.ask" in own
    assert {name for name in own if {name, name.partition(".")[0]} & NOT_FOR_ASK} == set()
    ours = {name.removeprefix("aichatfree.") for name in own if name.startswith("aichatfree.")}
    assert {name.partition(".")[0] for name in ours} == {"_core", "_sync", "cli", "errors"}
    assert {name.removeprefix("cli.") for name in ours if name.startswith("cli.")} == {
        *("ask", "borrowed", "collecting", "config", "filter", "folders", "keeping", "keyboard", "options", "printers"),
        *("program", "proxies", "reading", "report", "signals", "store", "talk", "talk_file", "terminal"),
    }


def test_importing_changes_nothing_but_a_quiet_logger() -> None:
    code = (
        "import logging, os, warnings, requests, aiohttp\n"
        "state = lambda: (dict(os.environ), list(warnings.filters), logging.root.handlers[:], logging.root.level)\n"
        "old = state()\n"
        "import aichatfree; from aichatfree import Client, AsyncClient\n"
        "assert state() == old\n"
        "assert [type(h).__name__ for h in logging.getLogger('aichatfree').handlers] == ['NullHandler']\n"
    )
    assert "aichatfree._sync.client" in loaded_by(code)


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
