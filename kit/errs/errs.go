// Package errs carries failures a caller may act on: a kind, which the outermost
// edge turns into a gRPC code or an HTTP status, and a message fit for a person.
// Everything that is not an *Error is internal: its text goes to the log only.
package errs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// Kind says what went wrong in terms a caller can act on.
type Kind uint8

// The kinds. Internal is the zero value, so that an unclassified failure is
// never mistaken for the caller's fault.
const (
	Internal           Kind = iota // our failure; details stay in the log
	Invalid                        // the request is malformed
	Unauthenticated                // the caller did not prove who they are
	Denied                         // the caller is known and may not do this
	NotFound                       // absent, or must look so to this caller
	Exists                         // the thing to create is there already
	Conflict                       // lost a race or clashes with present state
	FailedPrecondition             // the state does not permit the action
	Exhausted                      // a limit was reached
	Unavailable                    // the same call may be tried again
	Unimplemented                  // the action is not offered here
	Canceled                       // the caller went away
	Timeout                        // the deadline passed
)

var kindNames = [...]string{
	"internal", "invalid", "unauthenticated", "denied", "not found", "exists", "conflict",
	"failed precondition", "exhausted", "unavailable", "unimplemented", "canceled", "timeout",
}

// String returns the kind's name in lower case.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

var httpStatus = map[Kind]int{
	Invalid:            http.StatusBadRequest,
	Unauthenticated:    http.StatusUnauthorized,
	Denied:             http.StatusForbidden,
	NotFound:           http.StatusNotFound,
	Exists:             http.StatusConflict,
	Conflict:           http.StatusConflict,
	FailedPrecondition: http.StatusUnprocessableEntity,
	Exhausted:          http.StatusTooManyRequests,
	Unavailable:        http.StatusServiceUnavailable,
	Unimplemented:      http.StatusNotImplemented,
	Canceled:           499, // the client closed the request; only the log sees it
	Timeout:            http.StatusGatewayTimeout,
}

// HTTPStatus returns the status an HTTP edge answers for the kind.
func (k Kind) HTTPStatus() int {
	if s, ok := httpStatus[k]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// Error is a failure the caller may act on. Msg is shown to people; Err, which
// may be nil, is the cause for the log.
type Error struct {
	Kind Kind
	Msg  string
	Err  error
}

// Error returns the message followed by the cause.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Msg
	}
	if e.Msg == "" {
		return e.Err.Error()
	}
	return e.Msg + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New returns a failure of the kind with a message for people.
func New(kind Kind, msg string) *Error { return &Error{Kind: kind, Msg: msg} }

// Newf is New with a formatted message.
func Newf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Msg: fmt.Sprintf(format, args...)}
}

// Wrap returns a failure of the kind that keeps err as its cause.
func Wrap(kind Kind, msg string, err error) *Error { return &Error{Kind: kind, Msg: msg, Err: err} }

// KindOf returns the kind of the first *Error in err's chain. The ends of a
// context are their own outcome; any other error is Internal.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	}
	return Internal
}

// Message returns what people may be told of err: the message of the first
// *Error in its chain, or "" for an internal failure.
func Message(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Msg
	}
	return ""
}
