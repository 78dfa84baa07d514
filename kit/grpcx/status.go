// Package grpcx is the edge between our code and gRPC: errors become statuses and back in one table, and each RPC
// gets its correlation id, its access line and its recovery from panics in one chain.
package grpcx

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/kit/errs"
)

// internalText is all that a caller learns of a failure that is not meant for it.
const internalText = "internal error"

var codeOfKind = map[errs.Kind]codes.Code{
	errs.Internal:           codes.Internal,
	errs.Invalid:            codes.InvalidArgument,
	errs.Unauthenticated:    codes.Unauthenticated,
	errs.Denied:             codes.PermissionDenied,
	errs.NotFound:           codes.NotFound,
	errs.Exists:             codes.AlreadyExists,
	errs.Conflict:           codes.Aborted,
	errs.FailedPrecondition: codes.FailedPrecondition,
	errs.Exhausted:          codes.ResourceExhausted,
	errs.Unavailable:        codes.Unavailable,
	errs.Unimplemented:      codes.Unimplemented,
	errs.Canceled:           codes.Canceled,
	errs.Timeout:            codes.DeadlineExceeded,
}

var kindOfCode = map[codes.Code]errs.Kind{
	codes.OutOfRange: errs.Invalid,
}

// ToStatus turns err into what is sent to the caller:
//   - an *errs.Error in its chain: the code of its kind and its message;
//   - a gRPC status in its chain: its code and details, and the text of err around its message;
//   - the end of a context: Canceled or DeadlineExceeded;
//   - anything else: Internal with a fixed text.
func ToStatus(err error) error { return toStatus(err, false) }

// toStatus can also send the text of internal errors, which gitaly's callers expect.
func toStatus(err error, expose bool) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*errs.Error](err); ok {
		return kindStatus(e, expose)
	}
	if s, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err); ok {
		return wrappedStatus(err, s, s.GRPCStatus())
	}
	switch {
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, err.Error())
	case expose:
		return status.Error(codes.Internal, err.Error())
	}
	return status.Error(codes.Internal, internalText)
}

func kindStatus(e *errs.Error, expose bool) error {
	code, ok := codeOfKind[e.Kind]
	if !ok {
		code = codes.Internal
	}
	text := e.Msg
	switch {
	case e.Kind == errs.Internal && expose:
		text = e.Error()
	case text == "":
		text = e.Kind.String()
	}
	return status.Error(code, text)
}

// wrappedStatus keeps what was wrapped around a status, without the "rpc error: code = ..." in the middle.
func wrappedStatus(err, inner error, s *status.Status) error {
	if s.Code() == codes.OK { // a status that says OK is no error to send
		return status.Error(codes.Internal, internalText)
	}
	p := s.Proto()
	p.Message = strings.Replace(err.Error(), inner.Error(), s.Message(), 1)
	return status.FromProto(p).Err()
}

// FromStatus gives a remote failure one of our kinds, with the remote text as its message. The status stays in the
// chain, so details can still be read. An error without a status is returned as it is.
func FromStatus(err error) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	return errs.Wrap(kindOf(s.Code()), s.Message(), err)
}

func kindOf(code codes.Code) errs.Kind {
	if kind, ok := kindOfCode[code]; ok {
		return kind
	}
	for kind, c := range codeOfKind {
		if c == code {
			return kind
		}
	}
	return errs.Internal
}
