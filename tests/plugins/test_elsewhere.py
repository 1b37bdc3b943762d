"""Words of a Corefile that are not served: each says what to do instead, all of a Corefile in one run; some have no effect."""

import pytest

from kdns import plugins
from tests.support.configured import generation_of, in_block, is_served, refused

COREFILE = """\
. {
    proxy . 8.8.8.8 {
        policy random
    }
    federation cluster.local {
        prod prod.example.com
    }
    whoami
}
example.org {
    route53 example.org.:Z1Z2Z3Z4DZ5Z6Z7
    whoami
    dnssec {
        key file K
    }
}
"""


def test_all_of_a_corefile_are_told_in_one_run() -> None:
    assert [
        "Corefile:2: proxy: is gone since CoreDNS 1.5: write 'forward FROM TO...' in its place",
        "Corefile:5: federation: is gone since CoreDNS 1.7, as federation is from Kubernetes: leave it out",
        "Corefile:11: route53: is not served by kdns: forward these zones to the VPC's resolver, which answers private zones",
        "Corefile:13: dnssec: is not served by kdns: sign the zone where its file is made, and serve it with file",
    ] == refused(COREFILE).splitlines()


@pytest.mark.parametrize("name", plugins.INSTEAD)
def test_each_says_what_to_do(name: str) -> None:
    assert f"Corefile:2: {name}: {plugins.INSTEAD[name]}" == refused(in_block(f"{name} a b {{\nc d\n}}"))


@pytest.mark.parametrize("line", ["dnstap tcp://127.0.0.1:6000 full {\nidentity a\n}", "trace", "multisocket 8"])
def test_what_has_no_effect_is_a_note(line: str) -> None:
    name = line.split()[0]
    block = generation_of(in_block(f"{line}\nwhoami")).blocks[0]
    assert [f"Corefile:2: {name}: {plugins.WITHOUT_EFFECT[name]}"] == block.notes
    assert f"*{name}* - {plugins.WITHOUT_EFFECT[name]}." == plugins.manual(name)


def test_each_word_of_coredns_is_served_or_says_what_to_do() -> None:
    there = {*plugins.INSTEAD, *plugins.WITHOUT_EFFECT}
    assert [] == [name for name in plugins.ORDER if name not in there and not is_served(name)]
