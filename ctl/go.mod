module gitsplit/ctl

go 1.26.8

replace gitsplit/proto => ../proto

require gitsplit/kit v0.0.0

replace gitsplit/kit => ../kit

require golang.org/x/sys v0.49.0

require golang.org/x/crypto v0.58.0

require github.com/google/go-cmp v0.7.0

require github.com/golang-jwt/jwt/v5 v5.3.1 // indirect
