package rpc

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
)

// AbortedText is what callers are told with every Aborted, whatever a handler says
// (wire/gitaly.md §5.1).
const AbortedText = "The operation could not be completed. Please try again."

// detailed is an error that carries a message of errors.proto (wire/gitaly.md §17).
func detailed(code codes.Code, text string, detail protoadapt.MessageV1) error {
	s, err := status.New(code, text).WithDetails(detail)
	if err != nil {
		return status.Error(code, text)
	}
	return s.Err()
}
