# Stands in for golang of Docker Hub where there is no registry: this machine's Go, and the modules
# that the build needs, as a proxy of Go modules in a directory.
FROM debian:trixie-slim
COPY go /usr/local/go
COPY modules /go/offline
ENV GOPATH=/go GOTOOLCHAIN=local GOPROXY=file:///go/offline,https://proxy.golang.org,direct GOSUMDB=off PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
WORKDIR /go
