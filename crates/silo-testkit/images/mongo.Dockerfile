# In place of mongo:8.0.17: a server of its protocol, behind what plays mongod's own part (silo-testkit's mongod-stand-in).
FROM silo-local/debian:bookworm
RUN groupadd --gid 999 mongodb && useradd --uid 999 --gid 999 --home-dir /data/db mongodb && mkdir -p /data/db /data/configdb && chown -R 999:999 /data
COPY secantusd-rs /usr/local/bin/secantusd-rs
COPY mongod-stand-in /usr/local/bin/mongod
RUN printf '#!/bin/bash\nexec "$@"\n' > /usr/local/bin/docker-entrypoint.sh && chmod 755 /usr/local/bin/docker-entrypoint.sh
LABEL silo.made-of=workspace
VOLUME /data/db /data/configdb
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["mongod"]
