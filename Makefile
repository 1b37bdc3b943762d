# Everything is made here: the virtual environment, the server, the tests, the benchmarks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: bytecode setup run test test-compiled test-clients test-lowest test-image test-switch test-peer lint wheel wheel-plain sdist image \
    calls lock audit sbom fuzz bench bench-quick bench-floors bench-manifests bench-reasons bench-plugins bench-cluster bench-pauses \
    bench-pod bench-page soak rollout overload chaos clean

setup: $(VENV)/.made

$(VENV)/.made: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"kdns needs Python 3.11 or newer; {sys.executable} \
	is {sys.version.split()[0]}: make PYTHON=python3.12, say")'
	$(PYTHON) -m venv $$(test -e $@ || echo --clear) $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[test,lint]'
	touch $@

run: setup
	$(BIN)/kdns -conf zones/Corefile

test: setup
	$(BIN)/python -m pytest

# real clients and forwarders in a network namespace, kdns on port 53 of it; root. A part of `make test`
test-clients: setup
	$(BIN)/python -m pytest tests/clients

# CoreDNS replaced by kdns and put back, over a real control plane; CoreDNS is built once with Go (some minutes)
test-switch: setup
	$(BIN)/python -m pytest -s tests/live/switch_from_coredns.py

# the same Corefiles and questions to CoreDNS and to kdns (tests/peer); CoreDNS as for test-switch
test-peer: setup
	$(BIN)/python -m pytest tests/peer/side_by_side.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy

# dist/: what is installed, compiled for this Python and machine (a C compiler is needed, a minute or two), and its source
wheel: export HATCH_BUILD_HOOK_ENABLE_CUSTOM = 1
wheel sdist: build/tools
	build/tools/bin/python -m build --no-isolation --$@ --outdir dist

# the same for any Python and machine, slower
wheel-plain: build/tools
	build/tools/bin/python -m build --no-isolation --wheel --outdir dist

# the tests of what is compiled, on the compiled modules
test-compiled: setup wheel
	rm -rf build/tree && mkdir -p build/tree
	cp -r tests zones pyproject.toml build/tree
	cd build/tree && ../../$(BIN)/python -m zipfile -e "$$(ls -t ../../dist/kdns-*-cp3*.whl | head -1)" .
	cd build/tree && ../../$(BIN)/python -m pytest -m "not image and not plain" $(COMPILED)
COMPILED := tests/test_compiled.py tests/fuzz tests/dns tests/core tests/golden $(wildcard tests/cluster/test_*.py) \
    $(foreach part,in_flight udp tcp accept stream backlog,tests/server/test_$(part).py) \
    $(foreach part,kubernetes prometheus loadbalance cache forward acl view errors log small_answers,tests/plugins/test_$(part).py)

build/tools: requirements/build.txt
	$(PYTHON) -m venv --clear $@
	$@/bin/pip install --quiet --require-hashes --requirement $<
	touch $@

# the container image, with docker, podman or buildah
image:
	deploy/image/build

# the image built and run as a Pod would, and by its Python the tests of what is compiled: root, Debian's buildah, debootstrap, runc
test-image: setup
	$(BIN)/python -m pytest -m image tests/image
	$(BIN)/python -m tests.support.in_image -m "not image and not plain" $(COMPILED)

# the oldest versions that pyproject.toml allows
test-lowest: $(VENV)/.release
	$(PYTHON) -m venv --clear build/lowest
	$(BIN)/uv pip compile --quiet --resolution lowest-direct --extra test pyproject.toml --output-file build/lowest.txt
	build/lowest/bin/pip install --quiet --requirement build/lowest.txt
	build/lowest/bin/python -m pytest

$(VENV)/.release: $(VENV)/.made
	$(BIN)/pip install --quiet --editable '.[release]'
	touch $@

# kdns/server/calls.py, of calls.h
calls: setup
	$(BIN)/python -m tests.support.calls

# requirements/*.txt: what the image has, and what builds it, each with its hashes; the newest that pyproject.toml allows
lock: $(VENV)/.release
	$(BIN)/uv pip compile $(LOCK) pyproject.toml --output-file requirements/image.txt
	$(BIN)/uv pip compile $(LOCK) requirements/build.in --output-file requirements/build.txt
LOCK := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header

audit: $(VENV)/.release
	$(BIN)/pip-audit --strict --disable-pip --require-hashes --requirement requirements/image.txt

# dist/: the software bill of materials of what the image has of Python, licences included
sbom: wheel $(VENV)/.release
	$(PYTHON) -m venv --clear build/image
	build/image/bin/pip install --quiet --require-hashes --requirement requirements/image.txt
	build/image/bin/pip install --quiet --no-deps dist/*.whl
	build/image/bin/python -P -B deploy/image/trim.py
	$(BIN)/cyclonedx-py environment --output-file dist/kdns.cdx.json build/image

# all that comes from outside, made up from real messages and files; COUNT datagrams, of the rest in proportion
fuzz: setup
	$(BIN)/python -m tests.fuzz --count $(COUNT)
COUNT ?= 1000000

# kdns, as source and compiled, beside its peers over a real API server; a quarter of an hour; Debian's dnsperf, nsd, knot, unbound
bench bench-quick: bytecode wheel $(VENV)/.bench
	rm -rf build/bench
	$(BIN)/python -m zipfile -e "$$(ls -t dist/kdns-*-cp3*.whl | head -1)" build/bench
	$(BIN)/python -m compileall -q build/bench
	$(BIN)/python -m benchmarks.bench --kdns compiled=build/bench $(BENCH)
bench-quick: BENCH = --quick

# what pip makes of an installed package, too: else each start that is measured translates all of the source
bytecode: setup
	$(BIN)/python -m compileall -q kdns

$(VENV)/.bench: $(VENV)/.made
	$(BIN)/pip install --quiet --editable '.[bench]'
	touch $@

# bench-floors: is it as fast as it was? Half a minute, a part of CI
# bench-manifests: over a manifest, without peers
# bench-reasons: what extended errors cost that say why; under 3 % of a miss, nothing of a hit
# bench-plugins: what hosts, template, rewrite, acl, view and autopath cost a hit
# bench-pauses: what holds the event loop up, and for how long
# bench-pod: the image as a Pod: size, start, memory; root, as test-image
# bench-page: what the page costs; its pictures: $(BIN)/python -m benchmarks.page --pictures docs/page
# overload: floods of several kinds, and what they cost others
bench-floors bench-manifests bench-reasons bench-plugins bench-pauses bench-pod bench-page soak rollout overload: setup
	$(BIN)/python -m benchmarks.$(@:bench-%=%)

bench-cluster: bytecode
	$(BIN)/python -m benchmarks.control_plane

# faults at random under load, beside a model: make chaos MINUTES=10
chaos: setup
	$(BIN)/python -m benchmarks.chaos --minutes $(MINUTES)
MINUTES ?= 60

clean:
	rm -rf $(VENV) build dist
