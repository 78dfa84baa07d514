module gitsplit/services/rails-api

go 1.26.8

require gitsplit/proto v0.0.0

replace gitsplit/proto => ../../proto

require gitsplit/kit v0.0.0

replace gitsplit/kit => ../../kit
