# In place of gcr.io/distroless/cc-debian13:nonroot: files of the same packages of Debian's, and no shell.
FROM silo-local/debian:trixie AS all
RUN mkdir -p /out/usr/bin /out/usr/lib /out/usr/lib64 /out/usr/sbin /out/etc/ssl/certs /out/home/nonroot /out/tmp \
    && for name in bin lib lib64 sbin; do ln -s "usr/$name" "/out/$name"; done \
    && for package in libc6 libgcc-s1 libssl3t64 libzstd1 tzdata zlib1g; do dpkg --listfiles "$package"; done \
       | grep --invert-match --extended-regexp '/(doc|man|lintian|gconv)/' \
       | while read -r path; do \
           if [ ! -d "$path" ]; then cp --archive --parents "$(readlink -f "$(dirname "$path")")/$(basename "$path")" /out; fi; \
         done \
    && chmod 1777 /out/tmp \
    && cp --dereference /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ \
    && printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' > /out/etc/passwd \
    && printf 'root:x:0:\nnonroot:x:65532:\n' > /out/etc/group \
    && printf 'hosts: files dns\n' > /out/etc/nsswitch.conf
FROM scratch
COPY --from=all /out /
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532
