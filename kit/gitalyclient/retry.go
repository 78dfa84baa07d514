package gitalyclient

import (
	"encoding/json"
	"fmt"
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

type methodConfig struct {
	Name        []methodName    `json:"name"`
	RetryPolicy json.RawMessage `json:"retryPolicy"`
}

// defaultRetry is the retry policy of calls that nobody gave another one (§1.2).
const defaultRetry = `{"maxAttempts":4,"initialBackoff":"0.4s","maxBackoff":"1.4s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}`

// serviceConfig balances over all addresses of a gitaly and retries what cannot change a repository: the ACCESSOR
// methods by the op_type option of their descriptors, listed by name (§1.2).
func serviceConfig(retry string) (string, error) {
	b, err := json.Marshal(map[string]any{
		"loadBalancingConfig": []any{map[string]any{"round_robin": struct{}{}}},
		"methodConfig": []methodConfig{{
			Name: methods(isAccessor), RetryPolicy: json.RawMessage(retry),
		}},
	})
	if err != nil {
		return "", fmt.Errorf("retry policy %q: %w", retry, err)
	}
	return string(b), nil
}

// methods returns the names of gitaly's methods that are wanted, sorted.
func methods(wanted func(protoreflect.MethodDescriptor) bool) []methodName {
	var names []methodName
	protoregistry.GlobalFiles.RangeFilesByPackage(gitalypb.File_gitaly_shared_proto.Package(), func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				if m := service.Methods().Get(j); wanted(m) {
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
