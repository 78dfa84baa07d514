# Every command that a developer or CI runs. `make help` prints them.

BIN   ?= bin
TOOLS := .tools
GO    ?= go

# Packages of every module in go.work, as patterns: `./...` means nothing at a workspace root.
MODULES  = $(shell $(GO) list -f '{{.Dir}}' -m)
PACKAGES = $(addsuffix /...,$(MODULES))
COMMANDS = $(addsuffix /...,$(addprefix ./,$(wildcard services/*/cmd ctl/cmd)))
# -count=1: what a test of real binaries depends on is more than go test knows. No vet, which lint does,
# and no tables for debuggers: two seconds of a hundred links each.
TESTFLAGS ?= -race -count=1 -timeout=20m -vet=off -ldflags=-w
TESTSUM = $(GO) run ./tools/check/testsum

.PHONY: help run test faults bench lint generate verify build images bases compose-test helm-check clean tools
.DEFAULT_GOAL := help

help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 14

run: ## install what is missing, build, and start everything on this host
	@scripts/install-deps run
	@$(MAKE) --no-print-directory build
	@exec $(BIN)/gitsplit up

# Without gRPC's web pages, and without pgx's tables for parameters whose types PostgreSQL has not told: 1.5 MB. As in deploy/Dockerfile.
TAGS := grpcnotrace,nopgxregisterdefaulttypes
# FAULTS=,faults builds with the points at which the fault suite breaks things (kit/fault).
build: ## static binaries into bin/
	@mkdir -p $(BIN)
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -tags $(TAGS)$(FAULTS) -ldflags '-s -w' -o $(BIN)/ $(COMMANDS)

test: ## install what tests need, build, and run every test of every module
	@scripts/install-deps test
	@$(MAKE) --no-print-directory build
	@$(TESTSUM) $(TESTFLAGS) $(PACKAGES)

bench: ## measure speed beside OpenSSH, gitolite, nginx and git; QUICK=1, ROWS=1,3, REPO=dir, PROFILE=3, RECORD=1
	@scripts/install-deps bench
	@$(MAKE) --no-print-directory build
	@$(GO) build -o $(BIN)/bench ./bench/cmd/bench
	@$(BIN)/bench -bin $(BIN) $(if $(QUICK),-quick) $(if $(RECORD),-record) $(if $(ROWS),-rows $(ROWS)) $(if $(REPO),-repo $(REPO)) $(if $(PROFILE),-profile $(PROFILE))

images: ## container images, for amd64 and arm64 where buildx is, and a bill of materials of each in dist/
	@deploy/images

bases: ## the base images of the containers from Debian's packages, where there is no registry
	@deploy/offline/build

# The base images that are not here are made as on a site without a registry.
COMPOSE = $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
compose-test: bases ## build the images, and try the compose files out as a person would
	$(COMPOSE) -f deploy/docker-compose.scale.yml build --quiet
	cd e2e && $(GO) test -tags compose -count=1 -v -timeout 20m ./compose

faults: ## break everything at every point of pushes and clones (TRIALS=1000 random ones, SEED=, PASSES=1, STOP=20, CLIENTS=20)
	@scripts/install-deps test
	cd e2e && FAULTS_PASSES=$(or $(PASSES),1) FAULTS_TRIALS=$(or $(TRIALS),1000) FAULTS_STOP=$(or $(STOP),20) SEED=$(SEED) \
		FAULTS_CLIENTS=$(or $(CLIENTS),20) \
		$(GO) test -count=1 -v -timeout=4h ./faults

# A module of its own, outside the workspace: what Helm and Kubernetes need never decides what the services get.
helm-check: build ## lint and render the Helm chart, and check it against the types of Kubernetes and against our programs
	@test -z "$$(gofmt -l deploy/helm/check | tee /dev/stderr)"
	cd deploy/helm/check && GOWORK=off $(GO) test -count=1 .

lint: $(TOOLS)/golangci-lint $(TOOLS)/buf ## formatting, vet, golangci-lint, import rules, .proto style
	@test -z "$$(gofmt -l $(MODULES) | tee /dev/stderr)" || { echo 'run gofmt -w on these files' >&2; exit 1; }
	$(GO) vet $(PACKAGES)
	$(GO) vet -tags compose ./e2e/compose
	$(TOOLS)/golangci-lint run $(PACKAGES)
	cd deploy/helm/check && GOWORK=off $(CURDIR)/$(TOOLS)/golangci-lint run ./...
	$(GO) test -count=1 -run '^TestImports' ./tools/check/...
	$(TOOLS)/buf lint
	$(TOOLS)/buf format --diff --exit-code

generate: $(TOOLS)/buf $(TOOLS)/protoc-gen-go $(TOOLS)/protoc-gen-go-grpc ## Go from the .proto files
	$(TOOLS)/buf generate

verify: generate ## generated code and module files are what their sources say
	@test -z "$$(git status --porcelain -- proto/go)" || { git status --short -- proto/go; git diff -- proto/go | head -n 50; \
		echo 'generated code differs: run make generate and commit it' >&2; exit 1; }
	@bad=; for dir in $(MODULES) tools deploy/helm/check; do \
		(cd $$dir && GOWORK=off $(GO) mod tidy -diff) || bad="$$bad $$dir"; \
	done; test -z "$$bad" || { echo "run GOWORK=off go mod tidy in:$$bad" >&2; exit 1; }
	$(GO) mod verify
	cd tools && GOWORK=off $(GO) mod verify
	cd deploy/helm/check && GOWORK=off $(GO) mod verify

tools: $(addprefix $(TOOLS)/,buf protoc-gen-go protoc-gen-go-grpc golangci-lint govulncheck) ## the pinned tools into .tools/

clean: ## remove binaries and tools; data in .gitsplit stays
	rm -rf $(BIN) $(TOOLS) dist

# Pinned in tools/go.mod, a module outside the workspace, so that what tools need never decides what the services get.
TOOLBUILD = cd tools && GOWORK=off $(GO) build -trimpath -o ../$@
$(TOOLS)/buf: tools/go.mod
	$(TOOLBUILD) github.com/bufbuild/buf/cmd/buf
$(TOOLS)/protoc-gen-go: tools/go.mod
	$(TOOLBUILD) google.golang.org/protobuf/cmd/protoc-gen-go
$(TOOLS)/protoc-gen-go-grpc: tools/go.mod
	$(TOOLBUILD) google.golang.org/grpc/cmd/protoc-gen-go-grpc
$(TOOLS)/golangci-lint: tools/go.mod
	$(TOOLBUILD) github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(TOOLS)/govulncheck: tools/go.mod
	$(TOOLBUILD) golang.org/x/vuln/cmd/govulncheck
