"""Go's templates, as *template* has them: what they say, and what is wrong with them."""

import pytest

from kdns.plugins.template.gotext import Fields, Text

FIELDS = Fields(
    Name="a.b.", Zone="b.", Match=("a.b.", "a"), Group={"a": "10", "b": "1f"}, Question=Fields(Name="a.b.", Qtype=1),
    Meta=str.upper, Nothing="", Yes=True,
)  # fmt: skip


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", ""),
        ("no action", "no action"),
        ("{{ .Name }} 60 IN A {{.Group.a}}.{{ parseInt .Group.b 16 8 }}", "a.b. 60 IN A 10.31"),
        ("{{ index .Match 1 }}-{{ index .Group `a` }}", "a-10"),
        ("{{ .Group.none }}", "<no value>"),
        ("{{ .Match }} {{ .Group }} {{ .Yes }} {{ 1.5 }} {{ nil }}", "[a.b. a] map[a:10 b:1f] true 1.5 <no value>"),
        ("a  {{- /* said }} to nobody */ -}}\n b", "ab"),
        ("{{ if eq .Zone `c.` `b.` }}yes{{ else }}no{{ end }}", "yes"),
        ("{{ if .Nothing }}1{{ else if .Yes }}2{{ else }}3{{ end }}", "2"),
        ("{{ if and .Yes .Nothing .None }}1{{ end }}{{ if or .Nothing .Yes .None }}2{{ end }}", "2"),
        ("{{ with .Group }}{{ .a }}{{ $.Zone }}{{ else }}none{{ end }}", "10b."),
        ("{{ with $x := .Nothing }}{{ $x }}{{ else }}none{{ end }}", "none"),
        ("{{ range .Match }}<{{ . }}>{{ end }}", "<a.b.><a>"),
        ("{{ range $i, $m := .Match }}{{ $i }}={{ $m }} {{ end }}", "0=a.b. 1=a "),
        ("{{ range $k, $v := .Group }}{{ $k }}{{ $v }}{{ else }}none{{ end }}", "a10b1f"),
        ("{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}", "21"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        ('{{ .Meta "kubernetes/x" }}', "KUBERNETES/X"),
        ("{{ .Question.Name | len | printf `%03d %s` }}".replace("`%03d %s`", "`%03d`"), "004"),
        (r'{{ printf "%s|%5s|%-3s|%x|%X|%v|%%" "a" "b" "c" 255 "k" .Match }}', "a|    b|c  |ff|6B|[a.b. a]|%"),
        (r'{{ printf "%q|%c|%b|%.1f" "\"" 65 5 1.25 }}', r'"\""|A|101|1.2'),
        ("{{ print 1 2 `x` 3 }}{{ println 1 `a` }}", "1 2x31 a\n"),
        ("{{ slice .Name 0 1 }}{{ slice .Name 2 }}", "ab."),
        ("{{ lt 1 2 }} {{ ge 1 2 }} {{ gt `b` `a` }} {{ le 2 2 }} {{ ne 1 2 }} {{ not true }}", "true false true true true false"),
        (r'{{ "a\"}}b\x41B\t\101" }}', 'a"}}bAB\tA'),
        ("{{ (index .Match 0) }}{{ ($.Question).Name }}", "a.b.a.b."),
        ("{{ 'A' }} {{ 0x10 }} {{ -3 }}", "65 16 -3"),
    ],
)
def test_what_a_template_says(source: str, expected: str) -> None:
    assert expected == Text(source).render(FIELDS)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ .Name", "'{{' without '}}'"),
        ("{{}}", "'{{}}' says nothing"),
        ("{{ end }}", "{{end}} without a beginning"),
        ("{{ if .Name }}", "an {{end}} is missing"),
        ("{{ range .Match }}{{ else }}{{ else }}{{ end }}", "{{else}} without a beginning"),
        ("{{ foo }}", "function 'foo' is not known here"),
        ("{{ len foo }}", "function 'foo' is not known here"),
        ('{{ define "x" }}{{ end }}', "{{define}} is not known here"),
        ("{{ $x }}", "$x is not declared"),
        ("{{ $x = 1 }}", "$x is not declared"),
        ("{{ if true }}{{ $x := 1 }}{{ end }}{{ $x }}", "$x is not declared"),
        ("{{ (.Name }}", "a ')' is missing"),
        ("{{ .Name ) }}", "')' is not expected"),
        ("{{ .Name | }}", "a value is missing"),
        ("{{ | }}", "a value is missing"),
        ("{{ := }}", "':=' is not expected"),
        ("{{ if }}x{{ end }}", "a value is missing"),
        ("{{ range $a $b := .Match }}{{ end }}", "'range' is followed by $value := or $key, $value :="),
        ("{{ .Name ? }}", "'?' is not expected in '.Name ?'"),
        ("{{ /* a */ .Name }}", "a comment stands alone in its braces"),
    ],
)
def test_what_is_no_template(source: str, expected: str) -> None:
    with pytest.raises(ValueError) as caught:
        Text(source)
    assert expected == str(caught.value)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ .Nmae }}", "there is no field .Nmae"),
        ("{{ .Question.Nmae }}", "there is no field .Nmae"),
        ("{{ .Name.Length }}", "there is no field .Length"),
        ("{{ index .Match 2 }}", "index: there is no 2 in [a.b. a]"),
        ("{{ parseInt .Name 10 8 }}", "parseInt: 'a.b.' is not a number"),
        ("{{ parseInt `256` 10 8 }}", "parseInt: 256 has more than 8 bits"),
        ("{{ .Name 1 }}", "a.b. is no function and has arguments"),
        ("{{ lt 1 `a` }}", "lt: 1 and a are not alike"),
        ("{{ eq 1 }}", "eq: takes two values at least"),
        ("{{ range .Name }}{{ end }}", "range over a.b., which is neither a list nor a map"),
        ("{{ printf `%d` }}", "printf: '%d' wants more values"),
        ("{{ printf `%d` 1 2 }}", "printf: '%d' wants fewer values"),
        ("{{ printf `%p` 1 }}", "printf: %p is not known here"),
        ("{{ slice .Name 3 9 }}", "slice: a.b. has no such part"),
    ],
)
def test_what_fails_with_what_it_is_given(source: str, expected: str) -> None:
    with pytest.raises(ValueError) as caught:
        Text(source).render(FIELDS)
    assert expected == str(caught.value)


def test_nothing_grows_without_bound() -> None:
    many = "{{ range $.Match }}" * 17 + "x" + "{{ end }}" * 17
    with pytest.raises(ValueError, match="more than 65536 characters"):
        Text(many).render(Fields(Match=("a", "b")))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ .Name }}", {"Name"}),
        ("{{ $x := . }}{{ $x.Remote }}", {".", "Remote"}),
        ("{{ $.Remote }}", {"Remote"}),
        ("{{ index $ `Remote` }}", {"."}),
        ("{{ if .Yes }}{{ else }}{{ .Meta `a` }}{{ end }}", {"Yes", "Meta"}),
    ],
)
def test_what_a_template_asks_for(source: str, expected: set[str]) -> None:
    assert expected == Text(source).fields
