# Stands in for haproxy:3.0 of Docker Hub where there is no registry: Debian's HAProxy as user haproxy (99).
FROM debian:trixie-slim
RUN export DEBIAN_FRONTEND=noninteractive && apt-get update -qq && apt-get install -y -qq --no-install-recommends haproxy >/dev/null \
 && usermod --uid 99 haproxy && groupmod --gid 99 haproxy && chown -R haproxy:haproxy /var/lib/haproxy \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/* /etc/haproxy && mkdir -p /usr/local/etc/haproxy
STOPSIGNAL SIGUSR1
USER haproxy
WORKDIR /var/lib/haproxy
CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
