module gitsplit/e2e

go 1.26.8

replace gitsplit/proto => ../proto

require (
	github.com/google/go-cmp v0.7.0
	github.com/rogpeppe/go-internal v1.16.0
)

require (
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/tools v0.26.0 // indirect
)

replace gitsplit/kit => ../kit
