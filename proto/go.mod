module gitsplit/proto

go 1.26.8
