# Stands in for redis:8 of Docker Hub where there is no registry: Debian's Redis, user and directories
# as in the official image.
FROM debian:trixie-slim
RUN groupadd --gid 1000 redis && useradd --uid 999 --gid 1000 --home-dir /data --shell /usr/sbin/nologin redis \
 && export DEBIAN_FRONTEND=noninteractive && apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-server >/dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/* && install -d -o redis -g redis /data
COPY redis-entrypoint /usr/local/bin/docker-entrypoint.sh
WORKDIR /data
VOLUME /data
ENTRYPOINT ["docker-entrypoint.sh"]
EXPOSE 6379
CMD ["redis-server"]
