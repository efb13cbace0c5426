"""The catalog: whose address is whose, what is missing and why, boundaries and their lint. No input or output."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.catalog.boundary import Exposure, Pattern, configured_boundary, declared_boundary
from motet.catalog.catalog import Catalog, ServerCatalog
from motet.catalog.listing import read_prompts, read_resources, read_templates, read_tools
from motet.catalog.model import Boundary, LeftOut, Prompt, Resource, ResourceTemplate
from motet.catalog.tool import Tool
from motet.errors import Ambiguous, ServerUnavailable, UnknownAddress
from motet.upstream.sanitise import clean


def server(name: str, *uris: str, tools: tuple[str, ...] = (), by: str = "server", **more: Any) -> ServerCatalog:
    boundary = Boundary(name, uris=uris, declared_by=by) if uris else None
    made = {tool: Tool(name, tool, input_schema={"type": "object"}) for tool in tools}
    return ServerCatalog(name, tools=made, boundary=boundary, known=True, as_of=1.0, **more)


def catalog(*parts: ServerCatalog) -> Catalog:
    return Catalog({part.name: part for part in parts})


HUBS = catalog(
    server("github", "github://**", tools=("create_issue", "get_issue")),
    server("ghe", "github://acme/**"),
    server("jira", "jira://**", tools=("get_issue",)),
    server("wiki", resources=(Resource("wiki://home"),), templates=(ResourceTemplate("wiki://page/{name}"),)),
    server("mirror", "pages://**", resources=(Resource("jira://project/X"),)),
    server("left", "docs://**"),
    server("right", "docs://**"),
    ServerCatalog("away", stale="the server exited with code 3"),
)


@pytest.mark.proves("FR-ORCH-002")
@pytest.mark.parametrize(
    ("uri", "target"),
    [
        ("github://org/app", ("github", "github://org/app")),
        ("github://acme/app/pulls", ("ghe", "github://acme/app/pulls")),  # the more specific one
        ("GITHUB://acme/app", ("ghe", "GITHUB://acme/app")),
        ("ghe=github://org/app", ("ghe", "github://org/app")),
        ("jira://project/X", ("jira", "jira://project/X")),  # a boundary beats what is merely listed
        ("wiki://home", ("wiki", "wiki://home")),
        ("wiki://page/start", ("wiki", "wiki://page/start")),
        ("left=docs://x", ("left", "docs://x")),
        ("jira://a?x=github://b", ("jira", "jira://a?x=github://b")),
    ],
)
def test_an_address_goes_to_whoever_claims_it_most_specifically(uri: str, target: tuple[str, str]) -> None:
    assert HUBS.target(uri) == target
    assert HUBS.route(uri) == target[0]


def test_a_named_server_is_asked_whatever_the_address() -> None:
    assert HUBS.target("github://org/app", "ghe") == ("ghe", "github://org/app")


def test_an_equal_claim_is_ambiguous_and_names_the_candidates() -> None:
    with pytest.raises(Ambiguous) as refused:
        HUBS.route("docs://x")
    assert refused.value.candidates == ("left", "right")
    assert "left=docs://x" in refused.value.hint


def test_the_configuration_breaks_a_tie() -> None:
    assert catalog(server("a", "docs://**"), server("b", "docs://**", by="config")).route("docs://x") == "b"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("gihub://x", "no server claims `gihub://x`; did you mean `github`?"),
        ("wiki://page/a/b", "no server claims `wiki://page/a/b`; did you mean `wiki`?"),
        ("no uri", "`no uri` is no URI"),
        ("x\u202e://y", "is no URI"),
        ("nobody=github://x", "there is no server `nobody`"),
    ],
)
def test_an_address_that_nobody_claims_is_never_guessed(uri: str, message: str) -> None:
    with pytest.raises(UnknownAddress) as refused:
        HUBS.route(uri)
    assert message in refused.value.message


@pytest.mark.parametrize(
    ("pattern", "uri", "fits"),
    [
        ("a://**", "a://x/y", True),
        ("a://*", "a://x/y", False),
        ("a://x*/y", "a://xz/y", True),
        ("a://{x}/b.c", "a://1/b.c", True),
        ("a://{x}/b.c", "a://1/bxc", False),
        ("a://{+path}", "a://x/y", True),
        ("a://x{?q}", "a://x?q=1", True),
        ("a://x", "a://x/y", False),
        ("a://(x|y)+", "a://x", False),
        ("a://ü b/**", "a://ü b/ß", True),
    ],
)
def test_patterns(pattern: str, uri: str, fits: bool) -> None:
    assert Pattern(pattern).matches(uri) is fits


@settings(deadline=None)
@given(st.text(max_size=30), st.text(max_size=30).filter(lambda text: text.isprintable()))
def test_any_text_is_a_pattern_and_matches_itself_where_it_has_no_wildcard(pattern: str, uri: str) -> None:
    if pattern.isprintable():
        Pattern(pattern).matches(uri)
    if not set(uri) & set("*{}"):
        assert Pattern(uri).matches(uri)


def test_a_hostile_pattern_takes_no_time() -> None:
    assert not Pattern("a://" + "**x" * 60).matches("a://" + "x" * 5000 + "y")


@pytest.mark.parametrize(
    ("find", "kind", "message"),
    [
        (lambda: HUBS.tool("githb", "x"), UnknownAddress, "there is no server `githb`; did you mean `github`?"),
        (
            lambda: HUBS.tool("github", "get_isue"),
            UnknownAddress,
            "there is no tool `get_isue`; did you mean `get_issue`?",
        ),
        (lambda: HUBS.tool("away", "x"), ServerUnavailable, "the server exited with code 3"),
        (lambda: HUBS.address("github"), UnknownAddress, "`github` is no address"),
        (lambda: HUBS.address("nobody.x"), UnknownAddress, "there is no server `nobody`"),
        (lambda: HUBS.prompt("github", "x"), UnknownAddress, "there is no prompt `x`"),
    ],
)
def test_what_is_not_there_says_what_is_near(find: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as refused:
        find()
    assert message in str(refused.value)


def test_an_address_splits_at_the_first_dot() -> None:
    assert HUBS.address("github.create.issue") == ("github", "create.issue")


def test_a_tool_that_was_left_out_says_why() -> None:
    with pytest.raises(UnknownAddress, match="left out: broken"):
        catalog(server("a", left_out=(LeftOut("x", "broken"),))).tool("a", "x")


def test_a_remembered_catalog_is_the_same_but_stale() -> None:
    boundary = Boundary("d", "text", ("a://**",), {"tools": {}}, ("t",), "n", "1", "config")
    tool = Tool("a", "t", "T", "does", {"type": "object"}, {"type": "object"}, meta={"k": 1}, digest="d", parse="json")
    part = ServerCatalog(
        "a",
        {"t": tool},
        (Resource("a://r", "r"),),
        (ResourceTemplate("a://{x}"),),
        {"p": Prompt("p", "", {"x": True})},
        boundary,
        (LeftOut("bad", "why"),),
        as_of=5.0,
        known=True,
        instructions="do",
        server_info={"name": "n"},
        version="2026-07-28",
    )
    again = Catalog.from_json(catalog(part).to_json())
    assert again.servers["a"] == replace(part, stale="remembered from an earlier run")


@pytest.mark.parametrize("told", [{"servers": {"a": {}}}, {"servers": {"a": {"name": 3}}}, {"servers": {"a": None}}])
def test_a_remembered_catalog_that_cannot_be_read_is_refused(told: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="remembered"):
        Catalog.from_json(told)


# ---- listings --------------------------------------------------------------------------------------------------------

OBJECT = {"type": "object"}


def test_each_tool_is_judged_alone() -> None:
    entries: list[Any] = [
        None,
        {"description": "no name"},
        {"name": "good", "inputSchema": OBJECT, "annotations": {"readOnlyHint": True, "idempotentHint": "yes"}},
        {"name": "good", "inputSchema": OBJECT},
        {"name": "sp ace", "inputSchema": OBJECT},
        {"name": "x" * 129, "inputSchema": OBJECT},
        {"name": "none"},
        {"name": "list", "inputSchema": []},
        {"name": "text", "inputSchema": {"type": "string"}},
        {"name": "bad", "inputSchema": {"type": "object", "properties": {"a": {"type": "objekt"}}}},
        {"name": "out", "inputSchema": OBJECT, "outputSchema": {"type": "objekt"}},
        {"name": "odd", "inputSchema": OBJECT, "outputSchema": 3},
        {"name": "last", "inputSchema": OBJECT, "title": 3, "description": ["x"], "annotations": 3, "_meta": 3},
    ]
    read = [*read_tools("s", entries, clean=clean)]
    assert [tool.name for tool in read if isinstance(tool, Tool)] == ["good", "last"]
    assert read[2].annotations.read_only is True  # type: ignore[union-attr]
    assert read[2].annotations.idempotent is None  # type: ignore[union-attr]
    assert {one.name for one in read if isinstance(one, LeftOut)} >= {"#0", "#1", "good", "none", "text", "bad", "odd"}
    assert all(one.reason for one in read if isinstance(one, LeftOut))


def test_a_list_is_capped_and_says_so() -> None:
    entries = [{"name": f"t{number}", "inputSchema": OBJECT} for number in range(10)]
    read = [*read_tools("s", entries, clean=clean, limit=3)]
    assert [one.name for one in read] == ["t0", "t1", "t2", "…"]


def test_resources_templates_and_prompts_are_judged_alone() -> None:
    assert [*read_resources([{"uri": "a://b", "name": "n"}, {"uri": 3}, {"uri": "a://\u202e"}, 7], clean=clean)] == [
        Resource("a://b", "n"),
        LeftOut("#1", "the entry has no usable `uri`"),
        LeftOut("a://", "its uri holds control or invisible characters"),
        LeftOut("#3", "the entry is no JSON object"),
    ]
    assert [*read_templates([{"uriTemplate": "a://{x}"}], clean=clean)] == [ResourceTemplate("a://{x}")]
    prompt = {"name": "p", "arguments": [{"name": "a", "required": True}, {"name": "b"}, 3]}
    assert [*read_prompts([prompt], clean=clean)] == [Prompt("p", "", {"a": True, "b": False})]


KEYS = st.sampled_from(["name", "uri", "inputSchema", "outputSchema", "type", "properties", "arguments", "annotations"])
LEAVES = st.none() | st.booleans() | st.text() | st.integers()


@settings(deadline=None)
@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner)))
def test_no_entry_whatever_it_is_raises(entry: Any) -> None:
    for read in (read_resources, read_templates, read_prompts):
        assert len([*read([entry], clean=clean)]) == 1
    assert len([*read_tools("s", [entry], clean=clean)]) == 1


# ---- boundaries ------------------------------------------------------------------------------------------------------


@pytest.mark.proves("FR-ORCH-001")
def test_a_boundary_is_what_the_server_declares() -> None:
    told = {
        "domain": "issues",
        "name": "jira",
        "version": "1",
        "description": "Tickets.",
        "uris": ["jira://**", 3, "x"],
    }
    declared = declared_boundary({"experimental": {"motet/boundary": {**told, "tools": ["a"]}}}, clean=clean)
    assert declared == Boundary("issues", "Tickets.", ("jira://**",), {}, ("a",), "jira", "1", "server")
    assert declared_boundary({"experimental": {}}, clean=clean) is None
    assert declared_boundary({"experimental": {"motet/boundary": 3}}, clean=clean) is None


@pytest.mark.proves("FR-ORCH-001")
def test_the_configuration_fills_in_and_overrules() -> None:
    declared = Boundary("a", "from server", ("a://**",), tools=("t",))
    assert configured_boundary(declared, domain="b", schemes=["x"]) == Boundary(
        "b", "from server", ("x://**",), {}, ("t",), declared_by="config"
    )
    assert configured_boundary(None, uris=["y://z/**"]).uris == ("y://z/**",)


LINT: list[tuple[str, Catalog, dict[str, Exposure], list[tuple[str, tuple[str, ...]]]]] = [
    ("sound", catalog(server("a", "a://**"), server("b", "b://**")), {}, []),
    ("two schemes", catalog(server("a", "a://**", "b://**")), {}, [("god_server", ("a",))]),
    (
        "tools of three domains",
        catalog(server("a", "a://**", tools=("github_create_issue", "jira_get_issue", "slack_send"))),
        {},
        [("god_server", ("a",))],
    ),
    (
        "another's scheme",
        catalog(server("a", "a://**", resources=(Resource("b://x"),)), server("b", "b://**")),
        {},
        [("foreign_scheme", ("a", "b"))],
    ),
    (
        "outside its own",
        catalog(server("a", "a://**", resources=(Resource("c://x"),))),
        {},
        [("foreign_scheme", ("a",))],
    ),
    ("nothing declared", catalog(server("a")), {}, [("undeclared", ("a",))]),
    ("not listed yet", catalog(ServerCatalog("a")), {}, []),
    (
        "one credential for two",
        catalog(server("a", "a://**"), server("b", "b://**")),
        {"a": Exposure({"TOKEN": "d1"}), "b": Exposure({"KEY": "d1"})},
        [("shared_credential", ("a", "b"))],
    ),
    (
        "one database for two",
        catalog(server("a", "a://**"), server("b", "b://**")),
        {"a": Exposure(databases={"X": "pg"}), "b": Exposure(databases={"Y": "pg"})},
        [("shared_database", ("a", "b"))],
    ),
    (
        "one root within another's",
        catalog(server("a", "a://**"), server("b", "b://**"), server("c", "c://**")),
        {"a": Exposure(roots=("/srv",)), "b": Exposure(roots=("/srv/x",)), "c": Exposure(roots=("/srvx",))},
        [("shared_root", ("a", "b"))],
    ),
]


@pytest.mark.proves("FR-ORCH-001", "FR-ORCH-005")
@pytest.mark.parametrize(("drawn", "exposures", "found"), [row[1:] for row in LINT], ids=[row[0] for row in LINT])
def test_unsound_boundaries_are_found(
    drawn: Catalog, exposures: dict[str, Exposure], found: list[tuple[str, tuple[str, ...]]]
) -> None:
    assert [(one.kind, one.servers) for one in drawn.lint(exposures)] == found


@pytest.mark.proves("FR-ORCH-001")
def test_declared_and_listed_tools_are_compared() -> None:
    part = server("a", tools=("x", "y"))
    drawn = catalog(replace(part, boundary=Boundary("a", uris=("a://**",), tools=("x", "z"))))
    assert [one.message for one in drawn.lint()] == [
        "declares tools it does not list: z",
        "lists tools it does not declare: y",
    ]
