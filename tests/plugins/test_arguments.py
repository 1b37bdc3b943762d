"""What each of the small plugins says of arguments that it cannot take: one line, exact."""

import pytest

from tests.support.configured import in_block, refused

CASES = [
    ("bufsize 511", "Corefile:2: bufsize: '511' is not a whole number from 512 to 4096"),
    ("bufsize 4097", "Corefile:2: bufsize: '4097' is not a whole number from 512 to 4096"),
    ("bufsize big", "Corefile:2: bufsize: 'big' is not a whole number from 512 to 4096"),
    ("bufsize 512 513", "Corefile:2: bufsize: takes 1 argument, has 2"),
    ("whoami you", "Corefile:2: whoami: takes no arguments, has 1"),
    ("debug on", "Corefile:2: debug: takes no arguments, has 1"),
    ("cancel soon", "Corefile:2: cancel: 'soon' is not a duration such as 5s, 1m30s or 500ms"),
    ("root", "Corefile:2: root: takes 1 argument, has none"),
    ("root /\nroot /", "Corefile:3: root: may stand only once in a server block, and stands at Corefile:2"),
    ("pprof {\nbloc\n}", "Corefile:3: pprof: unknown option 'bloc', did you mean 'block'?"),
    ("pprof {\nblock 0\n}", "Corefile:3: pprof: block: '0' is not a whole number from 1 to 1000000000"),
    ("pprof 6053", "Corefile:2: pprof: '6053' is not an address and port such as 127.0.0.1:8080, [::1]:8080 or :8080"),
    ("bind", "Corefile:2: bind: takes at least 1 argument, has none"),
    ("bind nowhere0", "Corefile:2: bind: 'nowhere0' is neither an address nor an interface of this machine"),
    ("bind 127.0.0.1 {\nexcept 127.0.0.1\n}", "Corefile:2: bind: no address is left to listen on"),
    ("bind 127.0.0.1 {\nexept ::1\n}", "Corefile:3: bind: unknown option 'exept', did you mean 'except'?"),
    ("health 8080", "Corefile:2: health: '8080' is not an address and port such as 127.0.0.1:8080, [::1]:8080 or :8080"),
    ("health {\nlamduck 5s\n}", "Corefile:3: health: unknown option 'lamduck', did you mean 'lameduck'?"),
    ("health {\nlameduck 5q\n}", "Corefile:3: health: lameduck: '5q' is not a duration such as 5s, 1m30s or 500ms"),
    ("ready {\nmonitor always\n}", "Corefile:3: ready: monitor: 'always' is none of until-ready, continuously"),
    ("errors stderr", "Corefile:2: errors: cannot log to 'stderr', only to stdout"),
    ("errors\nerrors", "Corefile:3: errors: may stand only once in a server block, and stands at Corefile:2"),
    ("errors {\nstacktraces\n}", "Corefile:3: errors: unknown option 'stacktraces', did you mean 'stacktrace'?"),
    ("errors {\nconsolidate 5m\n}", "Corefile:3: errors: consolidate: takes 2 to 4 arguments, has 1"),
    (
        "errors {\nconsolidate 5m (\n}",
        "Corefile:3: errors: consolidate: '(' is no regular expression: missing ), unterminated subpattern at position 0",
    ),
    (
        "errors {\nconsolidate 5m x show_first warning\n}",
        "Corefile:3: errors: consolidate: 'warning' is neither warning, error, info, debug nor, after it, show_first",
    ),
    (
        "errors {\nconsolidate 5m " + 10001 * "x" + "\n}",
        "Corefile:3: errors: consolidate: the regular expression is over 10000 characters long",
    ),
    ("loadbalance shuffle", "Corefile:2: loadbalance: 'shuffle' is none of round_robin, weighted"),
    ("loadbalance weighted", "Corefile:2: loadbalance: takes 2 arguments, has 1"),
    ("loadbalance {\nreload 5s\n}", "Corefile:2: loadbalance: reload is for weighted, which reads a file: take it out"),
    (
        "loadbalance {\nprefer 10.0.0.0/33\n}",
        "Corefile:3: loadbalance: prefer: '10.0.0.0/33' is not a prefix such as 10.0.0.0/8 or 2001:db8::/32",
    ),
    (
        "loadbalance weighted /nonexistent/w {\nreload 0s\n}",
        "Corefile:2: loadbalance: cannot read /nonexistent/w: no such file or directory",
    ),
    (
        "prometheus 9153",
        "Corefile:2: prometheus: '9153' is not an address and port such as 127.0.0.1:8080, [::1]:8080 or :8080",
    ),
    ("prometheus\nprometheus", "Corefile:3: prometheus: may stand only once in a server block, and stands at Corefile:2"),
    ("prometheus {\ntls x\n}", "Corefile:3: prometheus: unknown option 'tls'"),
    ("log {\nclass success nothing\n}", "Corefile:3: log: class: 'nothing' is none of all, success, denial, error"),
    ("log {\nformat xml\n}", "Corefile:3: log: format: 'xml' is none of json"),
    ("log a..b", "Corefile:2: log: 'a..b.' is not a domain name: a label is empty"),
    ("dnssec", "Corefile:2: dnssec: is not served by kdns: sign the zone where its file is made, and serve it with file"),
    ("whoani", "Corefile:2: unknown plugin 'whoani', did you mean 'whoami'?"),
]


@pytest.mark.parametrize(("line", "expected"), CASES, ids=[line.replace("\n", " ")[:40] for line, _ in CASES])
def test_bad_arguments(line: str, expected: str) -> None:
    assert expected == refused(in_block(line))
