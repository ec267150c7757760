# In place of mongo-express:1.0.2: version 1.0.0 from its registry, which is the newest that installs from there.
FROM silo-local/debian:bookworm
RUN apt-get update \
    && apt-get install --yes --no-install-recommends nodejs npm \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /me
RUN npm install --no-audit --no-fund mongo-express@1.0.0
WORKDIR /me/node_modules/mongo-express
