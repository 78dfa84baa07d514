module gitsplit/bench

go 1.26.8

replace gitsplit/proto => ../proto

replace gitsplit/kit => ../kit

replace gitsplit/e2e => ../e2e

require (
	github.com/google/go-cmp v0.7.0
	gitsplit/e2e v0.0.0-00010101000000-000000000000
	gitsplit/kit v0.0.0
	golang.org/x/crypto v0.58.0
	golang.org/x/sync v0.24.0
)

require (
	github.com/golang-jwt/jwt/v5 v5.3.1 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
