# kdns in a container: as small as Debian's own Python allows, fit for a read-only root and for dropped capabilities.
#   docker build -t kdns .        (or podman, or buildah bud; `make image` takes the one that is there)
# Where pip needs a configuration of its own: --secret id=pip,src=pip.conf, and --secret id=ca,src=FILE for its certificates.

FROM debian:trixie-slim AS build
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates gcc make python3-dev python3-venv
WORKDIR /src
COPY requirements/ requirements/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    python3 -m venv /opt/kdns \
 && /opt/kdns/bin/pip install --quiet --no-cache-dir --no-compile --require-hashes --only-binary :all: -r requirements/image.txt
COPY Makefile hatch_build.py pyproject.toml README.md LICENSE ./
COPY kdns/ kdns/
COPY zones/ zones/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    make wheel \
 && /opt/kdns/bin/pip install --quiet --no-deps --no-compile --no-index dist/*.whl
COPY deploy/image/trim.py ./
# Libraries lose what debuggers alone read, more than half of their octets. Byte code is compiled ahead, here and below, and never
# compared with its source: nothing changes, nothing can be written. The interpreter of the last stage takes the place of the links
# to this one's.
RUN /opt/kdns/bin/python -P -B trim.py \
 && find /opt/kdns/lib -name '*.so' -exec strip --strip-unneeded {} + \
 && /opt/kdns/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/kdns/lib \
 && find /opt/kdns/bin -mindepth 1 ! -name kdns -delete

FROM debian:trixie-slim
ARG VERSION=""
LABEL org.opencontainers.image.title="kdns" \
      org.opencontainers.image.description="The DNS server of a Kubernetes cluster, in Python: CoreDNS's Corefile, flags, ports and metrics" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.base.name="debian:trixie-slim"
# A copy of the interpreter, for kdns alone, may bind port 53 as an ordinary user: the octets are a vfs_cap_data of revision 2
# (linux/capability.h), permitted and effective CAP_NET_BIND_SERVICE, which is what setcap would write.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-minimal libpython3-stdlib \
 && python3 -m compileall -q -f --invalidation-mode unchecked-hash /usr/lib/python3.* \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/* \
 && echo 'kdns:x:65532:65532::/nonexistent:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'kdns:x:65532:' >> /etc/group \
 && mkdir -p /opt/kdns/bin /usr/lib/ssl \
 && cp "$(readlink -f /usr/bin/python3)" /opt/kdns/bin/python3 \
 && python3 -c 'import os, struct; os.setxattr("/opt/kdns/bin/python3", "security.capability", struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0))'
# The authorities for tls:// upstreams, where OpenSSL looks: a process with a file capability is not told by the environment.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /usr/lib/ssl/cert.pem
COPY --from=build /opt/kdns /opt/kdns
ENV PATH=/opt/kdns/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
EXPOSE 53/udp 53/tcp 9153/tcp
ENTRYPOINT ["/opt/kdns/bin/kdns"]
