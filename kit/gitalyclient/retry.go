package gitalyclient

import (
	"encoding/json"
	"sort"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"gitsplit/proto/go/gitalypb"
)

type methodName struct {
	Service string `json:"service"`
	Method  string `json:"method"`
}

type retryPolicy struct {
	MaxAttempts       int      `json:"maxAttempts"`
	InitialBackoff    string   `json:"initialBackoff"`
	MaxBackoff        string   `json:"maxBackoff"`
	BackoffMultiplier float64  `json:"backoffMultiplier"`
	Codes             []string `json:"retryableStatusCodes"`
}

type methodConfig struct {
	Name        []methodName `json:"name"`
	RetryPolicy retryPolicy  `json:"retryPolicy"`
}

// serviceConfig balances over all addresses of a gitaly and retries what cannot change a repository: the ACCESSOR
// methods by the op_type option of their descriptors, listed by name (§1.2).
func serviceConfig() string {
	b, err := json.Marshal(map[string]any{
		"loadBalancingConfig": []any{map[string]any{"round_robin": struct{}{}}},
		"methodConfig": []methodConfig{{
			Name: accessors(gitalypb.File_gitaly_shared_proto.Package()),
			RetryPolicy: retryPolicy{
				MaxAttempts: 4, InitialBackoff: "0.4s", MaxBackoff: "1.4s", BackoffMultiplier: 2, Codes: []string{"UNAVAILABLE"},
			},
		}},
	})
	if err != nil {
		panic(err) // strings and numbers only
	}
	return string(b)
}

func accessors(pkg protoreflect.FullName) []methodName {
	var names []methodName
	protoregistry.GlobalFiles.RangeFilesByPackage(pkg, func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				if m := service.Methods().Get(j); isAccessor(m) {
					names = append(names, methodName{string(service.FullName()), string(m.Name())})
				}
			}
		}
		return true
	})
	sort.Slice(names, func(i, j int) bool {
		a, b := names[i], names[j]
		return a.Service < b.Service || a.Service == b.Service && a.Method < b.Method
	})
	return names
}

func isAccessor(m protoreflect.MethodDescriptor) bool {
	op, ok := proto.GetExtension(m.Options(), gitalypb.E_OpType).(*gitalypb.OperationMsg)
	return ok && op.GetOp() == gitalypb.OperationMsg_ACCESSOR
}
