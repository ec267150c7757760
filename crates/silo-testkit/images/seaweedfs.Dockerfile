# In place of chrislusf/seaweedfs:4.48: the same program.
FROM silo-local/debian:trixie
COPY weed /usr/bin/weed
ENTRYPOINT ["weed"]
