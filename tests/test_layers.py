"""The layers: a package imports only from those below it, and only the libraries that it may use.

The rules are checked on the source (``ast``): imports in functions and under TYPE_CHECKING count too.
"""

from __future__ import annotations

import ast
import functools

import pytest

from tests.support.imports import MODULES, imports

#: From the lowest to the highest. "" is ``quicdist`` itself, the public API; only the command is above it.
LAYERS = (
    "errors",
    "lazy",
    "dependencies",
    "logs",
    "forking",
    "containment",
    "term",
    "protocol",
    "carrier",
    "discovery",
    "cluster",
    "config",
    "gateway",
    "node",
    "otp",
    "",
    "sync",
    "prometheus",
    "opentelemetry",
    "cli",
    "__main__",
)

#: Packages without I/O and clock, and the modules that they must not import.
SANS_IO = ("term", "protocol")
IO_MODULES = {
    *("aioquic", "asyncio", "concurrent", "dns", "http", "multiprocessing", "queue", "sched", "select"),
    *("selectors", "signal", "socket", "socketserver", "ssl", "subprocess", "time", "urllib"),
    "uvloop",
}

#: The packages that may import each third-party library.
ALLOWED_IN = {
    "aioquic": {"carrier"},
    "cryptography": {"carrier"},
    "dns": {"discovery"},
    "click": {"cli"},
    "rich": {"cli"},
    "prompt_toolkit": {"cli"},
    "prometheus_client": {"prometheus"},
    "opentelemetry": {"opentelemetry"},
}

#: The one package that touches aioquic, public and private.
ENGINE = "quicdist.carrier.quic.engine.aioquic"

#: The one module above it that imports it: the carrier, which selects the engine.
ENGINE_SELECTED_IN = "quicdist.carrier.quic.carrier"


def is_engine(module: str) -> bool:
    return f"{module}.".startswith(f"{ENGINE}.")


#: Public in spite of the underscore.
PUBLIC_WITH_UNDERSCORE = {
    "_asdict",
    "_fields",
    "_make",
    "_replace",
    "_value_",
    "_name_",
    "_current_frames",
    "_exit",
}


#: The packages of the carrier, and the packages that each may import from.
CARRIER_PACKAGES = {
    "quic": {"quic", "quic.driver", "quic.engine", "quic.engine.aioquic", "security"},
    "quic.driver": {"quic.driver", "quic.engine", "security"},
    "quic.engine.aioquic": {"quic.engine", "quic.engine.aioquic", "security"},
    "quic.engine": {"quic.engine", "security"},
    "tcp": {"tcp"},
    "tls": {"tls", "tcp", "security"},
    "security": {"security"},
}


def layer_of(module: str) -> str:
    """The layer of a module: ``term`` for ``quicdist.term.etf.codec``, ``""`` for ``quicdist``."""
    return [*module.split("."), ""][1]


def upward_imports(module: str, is_package: bool, tree: ast.Module) -> list[str]:
    own = layer_of(module)
    wrong = []
    for source, name, line in imports(module, is_package, tree):
        if source.split(".")[0] != "quicdist":
            continue
        # `from quicdist import term` imports the layer term.
        other = name if source == "quicdist" and name in LAYERS else layer_of(source)
        if other != own and (other not in LAYERS or LAYERS.index(other) > LAYERS.index(own)):
            wrong.append(f"{module}:{line} imports {source}.{name} from a higher layer")
    return wrong


def carrier_package(module: str) -> str | None:
    """``quic.driver`` for ``quicdist.carrier.quic.driver.bulk_window``; None directly in the carrier."""
    inside = module.removeprefix("quicdist.carrier.")
    return next(
        (
            package
            for package in sorted(CARRIER_PACKAGES, reverse=True)
            if f"{inside}.".startswith(f"{package}.")
        ),
        None,
    )


def imports_from_higher_packages(module: str, is_package: bool, tree: ast.Module) -> list[str]:
    own = carrier_package(module)
    if not module.startswith("quicdist.carrier."):
        return []
    # Modules directly in the carrier may be imported by all packages, and import from none.
    allowed = CARRIER_PACKAGES[own] if own is not None else set()
    wrong = []
    for source, name, line in imports(module, is_package, tree):
        full = f"{source}.{name}"
        other = carrier_package(full if full in MODULES else source)
        if source.startswith("quicdist.carrier") and other is not None and other not in allowed:
            wrong.append(f"{module}:{line} imports {full} from {other}")
    return wrong


def imports_aioquic(module: str, is_package: bool, tree: ast.Module) -> bool:
    """Whether a module imports aioquic."""
    return any(source.split(".")[0] == "aioquic" for source, _, _ in imports(module, is_package, tree))


def foreign_imports(module: str, is_package: bool, tree: ast.Module) -> list[str]:
    own = layer_of(module)
    wrong = []
    for source, _, line in imports(module, is_package, tree):
        top = source.split(".")[0]
        if own in SANS_IO and top in IO_MODULES:
            wrong.append(f"{module}:{line} imports {top}, but {own} is sans-I/O")
        if top in ALLOWED_IN and own not in ALLOWED_IN[top]:
            wrong.append(f"{module}:{line} imports {top}, which only {ALLOWED_IN[top]} may")
    return wrong


# -- private names ------------------------------------------------------------------------------


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC_WITH_UNDERSCORE


def private_names_defined(trees: list[ast.Module]) -> set[str]:
    """Every private name that these modules assign, annotate, define or list in ``__slots__``."""
    names: set[str] = set()
    for tree in trees:
        for node in ast.walk(tree):
            match node:
                case ast.Attribute(attr=name, ctx=ast.Store(), value=ast.Name(id="self" | "cls")):
                    names.add(name)
                case ast.Name(id=name, ctx=ast.Store()):
                    names.add(name)
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    names.add(name)
                case ast.Assign(targets=[ast.Name(id="__slots__")], value=value):
                    names |= {
                        part.value
                        for part in ast.walk(value)
                        if isinstance(part, ast.Constant) and isinstance(part.value, str)
                    }
    return {name for name in names if is_private(name)}


def of_aioquic(value: ast.expr) -> bool:
    """Whether an expression looks like a connection or a TLS context of aioquic."""
    last = value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "")
    return any(word in last.lower() for word in ("quic", "tls"))


def private_accesses(module: str, tree: ast.Module, own_names: set[str]) -> list[str]:
    """Uses of private names that the module's package does not define itself.

    ``self._x`` counts too: if no module of the package assigns it, it is inherited from another package.
    """
    wrong = []
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=value, attr=name) if is_private(name):
                if name not in own_names or of_aioquic(value):
                    wrong.append(f"{module}:{node.lineno} uses {ast.unparse(node)}")
            case ast.Call(
                func=ast.Name(id="getattr" | "setattr" | "delattr" | "hasattr"),
                args=[_, ast.Constant(value=str(name)), *_],
            ) if is_private(name):
                wrong.append(f"{module}:{node.lineno} uses {ast.unparse(node)}")
    return wrong


@functools.cache
def names_of_package(package: str) -> set[str]:
    return private_names_defined([tree for name, (_, tree) in MODULES.items() if layer_of(name) == package])


# -- the rules over the source -----------------------------------------------------------------


def test_every_module_has_a_layer() -> None:
    assert {layer_of(module) for module in MODULES} <= set(LAYERS)


@pytest.mark.parametrize("module", MODULES)
def test_modules_import_only_from_layers_below(module: str) -> None:
    assert upward_imports(module, *MODULES[module]) == []


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("quicdist.carrier.")])
def test_packages_of_the_carrier_import_only_from_those_below(module: str) -> None:
    assert imports_from_higher_packages(module, *MODULES[module]) == []


def test_an_import_from_a_higher_package_of_the_carrier_is_found() -> None:
    for module, source in [
        ("quicdist.carrier.quic.driver.bulk_window", "from quicdist.carrier.quic import link"),
        ("quicdist.carrier.quic.driver.bulk_window", "from quicdist.carrier.quic.link import QuicLink"),
        (
            "quicdist.carrier.security.psk",
            "from quicdist.carrier.quic.driver.connection import QuicConnection",
        ),
        ("quicdist.carrier.quic.engine.path_mtu", "from quicdist.carrier.quic.driver import bulk_window"),
        (
            "quicdist.carrier.quic.engine.closing",
            "from quicdist.carrier.quic.engine.aioquic import statistics",
        ),
        ("quicdist.carrier.quic.engine.aioquic.tls", "from quicdist.carrier.quic.driver import bulk_window"),
        ("quicdist.carrier.link", "from quicdist.carrier.quic.receive_window import ReceiveWindow"),
        ("quicdist.carrier.tcp.link", "from quicdist.carrier.quic.link import QuicLink"),
    ]:
        assert len(imports_from_higher_packages(module, False, ast.parse(source))) == 1, (module, source)


def test_only_the_engine_imports_aioquic() -> None:
    assert [
        module for module in MODULES if not is_engine(module) and imports_aioquic(module, *MODULES[module])
    ] == []


def test_only_the_carrier_imports_the_engine_package_of_aioquic() -> None:
    assert {
        module
        for module, parts in MODULES.items()
        if not is_engine(module) and any(is_engine(source) for source, _, _ in imports(module, *parts))
    } == {ENGINE_SELECTED_IN}


@pytest.mark.parametrize("module", MODULES)
def test_modules_import_only_allowed_libraries(module: str) -> None:
    assert foreign_imports(module, *MODULES[module]) == []


@pytest.mark.parametrize("module", [module for module in MODULES if not is_engine(module)])
def test_private_names_stay_in_their_package(module: str) -> None:
    tree = MODULES[module][1]
    assert private_accesses(module, tree, names_of_package(layer_of(module))) == []


@pytest.mark.parametrize("module", MODULES)
def test_no_private_name_is_imported_from_another_package(module: str) -> None:
    own = layer_of(module)
    assert [
        f"{module}:{line} imports {name} from {source}"
        for source, name, line in imports(module, *MODULES[module])
        if is_private(name) and (source.split(".")[0] != "quicdist" or layer_of(source) != own)
    ] == []


# -- the rules find violations ------------------------------------------


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("quicdist.term.etf.codec", "from quicdist.protocol import flags"),
        ("quicdist.term.order", "from ..node import core"),
        ("quicdist.protocol.flags", "import quicdist.carrier"),
        ("quicdist.carrier.quic", "from quicdist import Node"),
        ("quicdist.node.local_node", "def late():\n    from quicdist import otp"),
        ("quicdist.otp.rpc", "from quicdist.cli import main"),
        ("quicdist.errors", "from quicdist.term import Atom"),
        ("quicdist.node.local_node", "from quicdist.attic import x"),
    ],
)
def test_an_import_from_a_higher_layer_is_found(module: str, source: str) -> None:
    assert len(upward_imports(module, False, ast.parse(source))) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("quicdist.otp.rpc", "from quicdist.node import core"),
        ("quicdist.otp.rpc", "from quicdist import term, errors"),
        ("quicdist.otp.rpc", "from . import erpc"),
        ("quicdist.cli.ping", "from quicdist import Node"),
        ("quicdist.node.local_node", "import quicdistance"),
    ],
)
def test_an_import_from_below_is_allowed(module: str, source: str) -> None:
    assert upward_imports(module, False, ast.parse(source)) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("quicdist.term.etf.codec", "import time"),
        ("quicdist.protocol.handshake", "if TYPE_CHECKING:\n    from asyncio import Future"),
        ("quicdist.node.local_node", "from aioquic.quic import events"),
        ("quicdist.otp.rpc", "import rich.table"),
    ],
)
def test_an_import_of_a_forbidden_library_is_found(module: str, source: str) -> None:
    assert len(foreign_imports(module, False, ast.parse(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "connection._close_event",
        "self._quic_of_the_parent_class",
        "self.quic._streams",
        "quic.tls._state",
        "getattr(quic, '_streams')",
    ],
)
def test_a_private_name_of_another_package_is_found(source: str) -> None:
    own = private_names_defined(
        [ast.parse("class A:\n  def __init__(self): self._streams = self._state = {}")]
    )
    assert len(private_accesses("quicdist.carrier.quic", ast.parse(source), own)) == 1


@pytest.mark.parametrize("source", ["self._streams", "other._slot", "module._helper", "row._replace(a=1)"])
def test_a_private_name_of_the_same_package_is_allowed(source: str) -> None:
    own = private_names_defined(
        [
            ast.parse("class A:\n  __slots__ = ('_slot',)\n  def f(self): self._streams = {}"),
            ast.parse("def _helper(): pass"),
        ]
    )
    assert private_accesses("quicdist.carrier.quic", ast.parse(source), own) == []
