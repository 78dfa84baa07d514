module gitsplit/tools/check

go 1.26.8
