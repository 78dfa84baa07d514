module gitsplit/e2e

go 1.26.8

require gitsplit/proto v0.0.0

replace gitsplit/proto => ../proto

require gitsplit/kit v0.0.0

require (
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/rogpeppe/go-internal v1.16.0 // indirect
)

replace gitsplit/kit => ../kit
