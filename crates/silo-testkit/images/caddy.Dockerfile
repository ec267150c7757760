# In place of caddy:2.11.7: the same program, on Debian.
FROM silo-local/debian:trixie
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libcap2-bin wget \
    && rm -rf /var/lib/apt/lists/*
COPY caddy /usr/bin/caddy
RUN setcap cap_net_bind_service=+ep /usr/bin/caddy && mkdir -p /config/caddy /data/caddy /etc/caddy
ENV XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data
WORKDIR /srv
