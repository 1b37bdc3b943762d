"""*template* - answers with records that a template makes of the question.

Description
    Where class, type and zone fit a query, the expressions of `match` are tried on its name (lower case, with its final dot),
    in their order, and the first that finds something decides: the answer is what the templates say. Where none does, the
    query falls through, if `fallthrough` says so, else the answer is SERVFAIL. Several *template* in a server block are tried
    in the order of the Corefile.

    A record is written as in a zone file, relative names are below the root, its TTL is 3600 where it has none, its class the
    question's. Where the answer ends in an alias and another type was asked, the alias is followed by the server blocks here.

    Templates are Go's (text/template) with what records need: fields, variables, pipelines, `if`, `with`, `range`, and the
    functions `and`, `or`, `not`, `eq`, `ne`, `lt`, `le`, `gt`, `ge`, `index`, `len`, `slice`, `print`, `println`, `printf` and
    `parseInt TEXT BASE BITS`. Expressions are Go's (RE2). What is wrong with either is refused at the start. A template that
    fails with a query, or makes no record, is logged, counted, and answered with SERVFAIL.

    Fields are `.Name`, `.Type`, `.Class` and `.Zone` of the query; `.Match`, what the expression found (`index .Match 1` is its
    first group); `.Group`, its groups by name; `.Var`, variables; `.Question` (`.Name`, `.Qtype`, `.Qclass`); `.Message` (`.Id`,
    `.Opcode`, `.RecursionDesired`, `.AuthenticatedData`, `.CheckingDisabled`, `.Question`); `.Remote`, the client's address;
    `.Meta "LABEL"`, a label of *metadata*. Answers come from the memo, but for those of templates with the last three.

    A Corefile takes `{{$x}}` for a variable of the environment: write `{{ $x }}`.

    `var` and `expr` are expressions as *view* has them (`kdns help view`), and `group('NAME')` or `group(1)` is what a group of
    `match` found, or empty. A variable may use those before it; templates have them as `.Var.NAME`. Where a condition is not
    true the query falls through, as if no expression of `match` had fitted; where one of them cannot be told, by a number where a
    text belongs, it is answered with SERVFAIL. Conditions on the client or the transport keep a server block out of the memo.

Syntax
    template CLASS TYPE [ZONES...] {
        match REGEX...
        var NAME EXPRESSION
        expr EXPRESSION
        answer RR
        additional RR
        authority RR
        rcode CODE
        ederror CODE [REASON]
        fallthrough [ZONES...]
        upstream
    }

    - CLASS is `IN`, `CH`, `HS` or `ANY`, TYPE a type or `ANY`.
    - ZONES are those of the server block where none are given.
    - REGEX has at most 10000 characters; without `match` every name fits.
    - `var` sets a variable, `expr` is a condition; both may come several times. One with a `#` in it stands between quotes.
    - RR is a template that makes one record; each option may come several times.
    - `rcode` is NOERROR by default, `ederror` an extended error (RFC 8914) with its number and text.
    - `fallthrough` leaves names that no expression fits (in ZONES) to the next *template*, and to the plugins after it.
    - `upstream` has no effect any more.

Metrics
    - `coredns_template_matches_total{server, zone, view, class, type}`: queries that were answered, by the memo too.
    - `coredns_template_template_failures_total{server, zone, view, class, type, section, template}`: templates that failed.
    - `coredns_template_rr_failures_total{server, zone, view, class, type, section, template}`: what was no record.

Differences
    - Templates have what records need (no `define`, `break`, `html`), and what is wrong with them is refused at the start.
    - Aliases are followed for all types.

Examples
    Names that do not exist, with a reason:

        . {
            template ANY ANY invalid {
                rcode NXDOMAIN
                authority "invalid. 60 {{ .Class }} SOA ns.invalid. hostmaster.invalid. (1 60 60 60 60)"
                ederror 21 "there is no invalid"
            }
            whoami
        }

    Addresses that are written in names, both ways:

        . {
            template IN A example {
                match (^|[.])ip-(?P<a>[0-9]*)-(?P<b>[0-9]*)-(?P<c>[0-9]*)-(?P<d>[0-9]*)[.]example[.]$
                answer "{{ .Name }} 60 IN A {{ .Group.a }}.{{ .Group.b }}.{{ .Group.c }}.{{ .Group.d }}"
                fallthrough
            }
            template IN PTR in-addr.arpa {
                match ^(?P<d>[0-9]*)[.](?P<c>[0-9]*)[.](?P<b>[0-9]*)[.](?P<a>[0-9]*)[.]in-addr[.]arpa[.]$
                answer "{{ .Name }} 60 IN PTR ip-{{ .Group.a }}-{{ .Group.b }}-{{ .Group.c }}-{{ .Group.d }}.example."
            }
            whoami
        }

    Hexadecimal ones:

        . {
            template IN A example {
                match "^ip0a(?P<b>[a-f0-9]{2})(?P<c>[a-f0-9]{2})(?P<d>[a-f0-9]{2})[.]example[.]$"
                answer "{{ .Name }} 60 A 10.{{ parseInt .Group.b 16 8 }}.{{ parseInt .Group.c 16 8 }}.{{ parseInt .Group.d 16 8 }}"
                fallthrough
            }
            whoami
        }

    Addresses that are written in names, if they are of some networks:

        . {
            template IN A example.com {
                match ^(?P<ip>[0-9]{1,3}(-[0-9]{1,3}){3})[.](?P<id>[a-z2-7]{26})[.]example[.]com[.]$
                var ip replace(group('ip'), '-', '.')
                expr "any(['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'], incidr(ip, #))"
                answer "{{ .Name }} 60 IN A {{ .Var.ip }}"
                fallthrough
            }
            whoami
        }

    An alias:

        . {
            template IN ANY foogle.com {
                match "^foogle\\.com\\.$"
                answer "foogle.com 60 IN CNAME google.com"
            }
            whoami
        }
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from kdns.config.directive import Directive
from kdns.config.options import argument, fallthrough, option, Reader
from kdns.config.patterns import Pattern
from kdns.config.values import origins
from kdns.core.block import Block
from kdns.core.fallthrough import Fallthrough
from kdns.core.metrics import Metric
from kdns.core.plugin import Handler, Plugin
from kdns.dns import master
from kdns.dns.query import Query
from kdns.dns.response import Answer, ExtendedError, Made, Response, RRset
from kdns.dns.types import AD, ANY, CD, CNAME, IN, NOERROR, OPCODE, RCODES, RD, SERVFAIL, SOA, type_number, type_text
from kdns.plugins.template.gotext import Fields, Text
from kdns.plugins.template.variables import Variables

CLASSES = {IN: "IN", 3: "CH", 4: "HS"}
CODES = {text: number for number, text in RCODES.items()} | {
    "BADSIG": 16, "BADKEY": 17, "BADTIME": 18, "BADMODE": 19, "BADNAME": 20, "BADALG": 21, "BADTRUNC": 22,
}  # fmt: skip
NOT_SHARED = frozenset(("Remote", "Message", "Meta", "."))  # fields that may be others though the question is the same
MORE = NOT_SHARED | {"Question"}
_record = lru_cache(1024)(master.record)


class Scope(NamedTuple):
    """Which queries it is for; None: of any class, or type."""

    cls: int | None
    type: int | None
    zones: tuple[str, ...]


def _scope(o: Directive) -> Scope:
    cls, type, *zones = o.arguments(2)
    classes = {"ANY": None} | {text: number for number, text in CLASSES.items()}
    if cls.upper() not in classes:
        raise ValueError(f"'{cls}' is none of {', '.join(classes)}")
    number = type_number(type)
    return Scope(
        classes[cls.upper()], None if number == ANY else number, tuple(zone for text in zones for zone in origins(text))
    )


def _patterns(o: Directive) -> tuple[Pattern, ...]:
    return tuple(map(Pattern, o.arguments(1)))


def _text(o: Directive) -> tuple[Text]:
    return (Text(o.one()),)


def _code(o: Directive) -> int:
    if o.one().upper() not in CODES:
        raise ValueError(f"'{o.one()}' is none of {', '.join(CODES)}")
    return CODES[o.one().upper()]


def _error(o: Directive) -> ExtendedError:
    text = (*o.arguments(1, 2), "")[1]
    return ExtendedError(o.integer(0, 65535, at=0), text)


def _lines(least: int) -> Reader:
    """Lines of so many words at least, which are read together."""

    def read(o: Directive) -> tuple[Directive]:
        o.arguments(least)
        return (o,)

    return read


def _anything(o: Directive) -> None:
    o.arguments()


@dataclass(frozen=True)
class Options:
    scope: Scope = argument(_scope)
    match: tuple[Pattern, ...] = option(_patterns, (), many=True)
    var: tuple[Directive, ...] = option(_lines(2), (), many=True)
    expr: tuple[Directive, ...] = option(_lines(1), (), many=True)
    answer: tuple[Text, ...] = option(_text, (), many=True)
    additional: tuple[Text, ...] = option(_text, (), many=True)
    authority: tuple[Text, ...] = option(_text, (), many=True)
    rcode: int = option(_code, NOERROR)
    ederror: ExtendedError | None = option(_error)
    fallthrough: tuple[str, ...] = option(fallthrough, ())
    upstream: None = option(_anything, note="upstream has no effect any more, the line may go")


class Failed(Exception):
    """A template that makes no record of a query: which, as what it is counted, and why."""

    def __init__(self, text: Text, counted: Metric, section: str, why: ValueError) -> None:
        super().__init__(f"{section}: {why}")
        self.text, self.counted, self.section = text, counted, section


class Template(Plugin):
    """Its answers depend on the question, but for templates that ask for more: these are not for the memo."""

    table = Options
    same_for_everyone = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        super().__init__(block, directive, options)
        scope = options.scope
        self.cls, self.type = scope.cls, scope.type
        self._fallthrough = Fallthrough(scope.zones or block.zones, options.fallthrough)
        texts = options.answer + options.additional + options.authority
        self._wanted = frozenset().union(*(text.fields for text in texts))
        self._variables = Variables(options.var, options.expr)
        self._stable_for = 0.0 if self._variables.ask_more or self._wanted & NOT_SHARED else math.inf
        self.same_for_everyone = not self._variables.decide
        if self.cls != IN:
            block.answer_any_class()
        labels = ("server", "zone", "view", "class", "type")
        self._matches = block.counter("coredns_template_matches_total", "Queries that a template answered.", labels)
        more = (*labels, "section", "template")
        self._failures = block.counter("coredns_template_template_failures_total", "Templates that failed.", more)
        self._no_records = block.counter("coredns_template_rr_failures_total", "What templates made and is no record.", more)
        for text in texts:
            self._load(text)

    def _load(self, text: Text) -> None:
        """Have the libraries loaded that the record needs, before anybody waits for it."""
        try:
            _record(text.render(self._fields(Query("example.", IN), "example.", ("",), {}, {})))
        except ValueError:  # most templates want more than that
            pass

    async def answer(self, query: Query, next: Handler) -> Answer:
        zone = self._fallthrough.zone(query.name)
        if zone is None or self.cls not in (None, query.cls) or self.type not in (None, query.type):
            return await next(query)
        try:
            values = self._found(query, zone)
        except ValueError as error:
            self.block.failed(query, str(self.directive.error(f"an expression: {error}")))
            return Response(rcode=SERVFAIL, authoritative=False, made=Made("template"))
        if values is None:
            if self._fallthrough.passes(query.name):
                return await next(query)
            return Response(rcode=SERVFAIL, authoritative=False, made=Made("template"))
        labels = (zone, self.block.view, CLASSES.get(self.cls or 0, "ANY"), type_text(self.type or ANY))
        counter = self._matches.labels(*labels)
        counter.inc()
        options = self.options
        try:
            made = Response(
                rcode=options.rcode,
                authoritative=options.rcode != SERVFAIL,
                answer=self._records("answer", options.answer, values),
                authority=self._records("authority", options.authority, values),
                additional=self._records("additional", options.additional, values),
                stable_for=self._stable_for,
                error=options.ederror,
                made=Made("template", replayed=counter.inc),
            )
        except Failed as failed:
            failed.counted.labels(*labels, failed.section, failed.text.source).inc()
            self.block.failed(query, str(self.directive.error(str(failed))))
            return Response(rcode=SERVFAIL, authoritative=False, made=Made("template"))
        if made.answer and made.answer[-1].type == CNAME and query.type not in (CNAME, ANY):
            return await self.block.follow(query, made, tuple(rrset for rrset in made.authority if rrset.type == SOA))
        return made

    def _found(self, query: Query, zone: str) -> Mapping[str, Any] | None:
        """What the templates see; None where no expression fits the name. ValueError where a variable cannot be told."""
        found: tuple[str, ...] | None = (query.name,)
        groups: dict[str, str] = {}
        for pattern in self.options.match:
            found = pattern.find(query.name)
            if found is not None:
                groups = {name: found[at] for name, at in pattern.names.items()}
                break
        if found is None:
            return None
        variables = self._variables.of(query, found, groups, self.block.label) if self._variables else {}
        return None if variables is None else self._fields(query, zone, found, groups, variables)

    def _fields(self, query: Query, zone: str, found: tuple[str, ...], groups: dict[str, str], var: dict[str, Any]) -> Fields:
        """The fields that there are; those that only few templates want, where these are such."""
        fields = Fields(
            Name=query.name, Type=type_text(query.type), Class=CLASSES.get(query.cls, f"CLASS{query.cls}"), Zone=zone,
            Match=found, Group=groups, Var=var,
        )  # fmt: skip
        if self._wanted & MORE:
            question = Fields(Name=query.name, Qtype=query.type, Qclass=query.cls)
            fields |= {"Question": question, "Remote": query.client.host, "Meta": lambda name: self.block.label(query, name) or ""}
            fields["Message"] = Fields(
                Id=int.from_bytes(query.wire[:2], "big"), Opcode=(query.flags & OPCODE) >> 11,
                RecursionDesired=bool(query.flags & RD), AuthenticatedData=bool(query.flags & AD),
                CheckingDisabled=bool(query.flags & CD), Question=[question],
            )  # fmt: skip
        return fields

    def _records(self, section: str, texts: tuple[Text, ...], values: Mapping[str, Any]) -> tuple[RRset, ...]:
        """The records of a section; those of one owner and type are one RRset, with the least TTL (RFC 2181 5.2)."""
        found: dict[tuple[str, int], RRset] = {}
        for text in texts:
            try:
                said = text.render(values)
            except ValueError as error:
                raise Failed(text, self._failures, section, error) from None
            try:
                one = _record(said)
            except ValueError as error:
                raise Failed(text, self._no_records, section, error) from None
            before = found.get((one.name, one.type))
            if before is not None:
                one = one._replace(ttl=min(before.ttl, one.ttl), rdata=tuple(dict.fromkeys(before.rdata + one.rdata)))
            found[one.name, one.type] = one
        return tuple(found.values())
