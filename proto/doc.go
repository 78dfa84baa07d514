// Package proto holds gitaly's wire protocol: the .proto files under gitaly/
// and the Go generated from them, gitsplit/proto/go/gitalypb.
//
// Names and numbers are GitLab's (wire/gitaly-contract.json) and fixed: the
// tests of this package compare the compiled descriptors with
// testdata/contract.json, row by row. Comments are ours. To add an RPC, copy
// its rows and those of its messages into that file, write the .proto text and
// run `make generate`.
package proto
