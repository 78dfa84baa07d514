# Every command that a developer or CI runs. `make help` prints them.

BIN   ?= bin
TOOLS := .tools
GO    ?= go

# Packages of every module in go.work, as patterns: `./...` means nothing at a workspace root.
MODULES  = $(shell $(GO) list -f '{{.Dir}}' -m)
PACKAGES = $(addsuffix /...,$(MODULES))
COMMANDS = $(addsuffix /...,$(addprefix ./,$(wildcard services/*/cmd ctl/cmd)))
# -count=1: what a test of real binaries depends on is more than go test knows.
TESTFLAGS ?= -race -count=1 -timeout=20m
TESTSUM = $(GO) run ./tools/check/testsum

.PHONY: help run test lint generate verify build clean tools
.DEFAULT_GOAL := help

help: ## print this list
	@grep -hE '^[a-z]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 12

run: ## install what is missing, build, and start everything on this host
	@scripts/install-deps run
	@$(MAKE) --no-print-directory build
	@exec $(BIN)/gitsplit up

build: ## static binaries into bin/
	@mkdir -p $(BIN)
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -tags grpcnotrace -ldflags '-s -w' -o $(BIN)/ $(COMMANDS)

test: ## install what tests need, build, and run every test of every module
	@scripts/install-deps test
	@$(MAKE) --no-print-directory build
	@$(TESTSUM) $(TESTFLAGS) $(PACKAGES)

lint: $(TOOLS)/golangci-lint $(TOOLS)/buf ## formatting, vet, golangci-lint, import rules, .proto style
	@test -z "$$(gofmt -l $(MODULES) | tee /dev/stderr)" || { echo 'run gofmt -w on these files' >&2; exit 1; }
	$(GO) vet $(PACKAGES)
	$(TOOLS)/golangci-lint run $(PACKAGES)
	$(GO) test -count=1 -run '^TestImports' ./tools/check/...
	$(TOOLS)/buf lint
	$(TOOLS)/buf format --diff --exit-code

generate: $(TOOLS)/buf $(TOOLS)/protoc-gen-go $(TOOLS)/protoc-gen-go-grpc ## Go from the .proto files
	$(TOOLS)/buf generate

verify: generate ## generated code and module files are what their sources say
	@test -z "$$(git status --porcelain -- proto/go)" || { git status --short -- proto/go; git diff -- proto/go | head -n 50; \
		echo 'generated code differs: run make generate and commit it' >&2; exit 1; }
	@bad=; for dir in $(MODULES) tools; do \
		(cd $$dir && GOWORK=off $(GO) mod tidy -diff) || bad="$$bad $$dir"; \
	done; test -z "$$bad" || { echo "run GOWORK=off go mod tidy in:$$bad" >&2; exit 1; }
	$(GO) mod verify
	cd tools && GOWORK=off $(GO) mod verify

tools: $(addprefix $(TOOLS)/,buf protoc-gen-go protoc-gen-go-grpc golangci-lint govulncheck) ## the pinned tools into .tools/

clean: ## remove binaries and tools; data in .gitsplit stays
	rm -rf $(BIN) $(TOOLS)

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
