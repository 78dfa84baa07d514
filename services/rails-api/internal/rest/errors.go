package rest

import (
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/rest/param"
)

// failure is an answer that is an error, with its body as wire/rest-api.md §3 has it.
type failure struct {
	status   int
	body     any
	location string    // of a redirect
	reset    time.Time // when to come again, after too many requests
}

// Error describes the failure for logs.
func (f *failure) Error() string { return "answered " + strconv.Itoa(f.status) }

// aborted is an error after the answer has begun: nothing can be written any more, and the connection breaks off since the body is
// shorter than announced.
type aborted struct{ error }

// plainText is a failure in a line for people.
func plainText(f *failure) string {
	if text, ok := f.body.(map[string]string); ok && f.status == http.StatusTooManyRequests {
		return text["message"]
	}
	return http.StatusText(f.status)
}

func message(status int, text string) *failure {
	return &failure{status: status, body: map[string]string{"message": text}}
}

// invalid is a model validation error; fields that share a message are given together.
func invalid(text string, fields ...string) *failure {
	faults := make(map[string][]string, len(fields))
	for _, field := range fields {
		faults[field] = []string{text}
	}
	return &failure{status: http.StatusBadRequest, body: map[string]any{"message": faults}}
}

func badRequest(reason string) *failure {
	return message(http.StatusBadRequest, withReason("400 Bad request", reason))
}

func unauthorized() *failure { return message(http.StatusUnauthorized, "401 Unauthorized") }

func forbidden(reason string) *failure {
	return message(http.StatusForbidden, withReason("403 Forbidden", reason))
}

// notFound says that a thing is absent or hidden; without a name it is the text for records.
func notFound(what string) *failure {
	if what == "" {
		return message(http.StatusNotFound, "404 Not found")
	}
	return message(http.StatusNotFound, "404 "+what+" Not Found")
}

func invalidToken(description string) *failure {
	return &failure{status: http.StatusUnauthorized, body: map[string]string{"error": "invalid_token", "error_description": description}}
}

func insufficientScope(allowed []string) *failure {
	return &failure{status: http.StatusForbidden, body: map[string]string{
		"error":             "insufficient_scope",
		"error_description": "The request requires higher privileges than provided by the access token.",
		"scope":             strings.Join(allowed, " "),
	}}
}

func withReason(text, reason string) string {
	if reason == "" {
		return text
	}
	return text + " - " + reason
}

// fail writes the error of a request and returns the status it answered.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) int {
	if abort := (aborted{}); errors.As(err, &abort) {
		a.Log.WarnContext(r.Context(), "answer broken off", slog.Any("error", abort.error))
		return http.StatusInternalServerError
	}
	f := answer(err)
	if f.status >= http.StatusInternalServerError {
		a.Log.ErrorContext(r.Context(), "request failed", slog.Any("error", err))
	}
	if f.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="GitLab"`)
	}
	if f.location != "" {
		w.Header().Set("Location", f.location)
	}
	if !f.reset.IsZero() {
		w.Header().Set("Retry-After", strconv.FormatInt(int64(math.Ceil(f.reset.Sub(a.Now()).Seconds())), 10))
		w.Header().Set("RateLimit-Reset", strconv.FormatInt(f.reset.Unix(), 10))
	}
	for _, name := range []string{"ETag", "Content-Disposition"} { // of the answer that there is not
		w.Header().Del(name)
	}
	if isWeb(r) {
		http.Error(w, plainText(f), f.status)
		return f.status
	}
	if err := writeJSON(w, f.status, f.body); err != nil {
		a.Log.ErrorContext(r.Context(), "error not written", slog.Any("error", err))
	}
	return f.status
}

// answer turns any error into a failure: its own, those of package param, and by kind those of the domain.
func answer(err error) *failure {
	var f *failure
	var faults *param.Error
	var field *postgres.FieldError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &faults):
		return &failure{status: http.StatusBadRequest, body: map[string]string{"error": faults.Error()}}
	case errors.Is(err, param.ErrMalformed):
		return &failure{status: http.StatusBadRequest, body: map[string]string{"error": param.ErrMalformed.Error()}}
	case errors.Is(err, param.ErrContentType):
		return &failure{status: http.StatusUnsupportedMediaType, body: map[string]string{"error": param.ErrContentType.Error()}}
	case errors.Is(err, param.ErrTooLarge):
		return message(http.StatusRequestEntityTooLarge, "413 Request Entity Too Large")
	case errors.As(err, &field) && isClientFault(err):
		return invalid(field.Msg, field.Field)
	}
	return byKind(err)
}

func isClientFault(err error) bool {
	kind := errs.KindOf(err)
	return kind == errs.Invalid || kind == errs.Exists
}

func byKind(err error) *failure {
	text := errs.Message(err)
	switch kind := errs.KindOf(err); kind {
	case errs.Invalid:
		return badRequest(text)
	case errs.Unauthenticated:
		return unauthorized()
	case errs.Denied:
		return forbidden(strings.TrimPrefix(text, "403 Forbidden"))
	case errs.NotFound:
		return notFound("")
	case errs.Exists, errs.Conflict:
		return message(http.StatusConflict, orText(text, "409 Conflict"))
	case errs.FailedPrecondition:
		return message(http.StatusUnprocessableEntity, orText(text, "422 Unprocessable Entity"))
	case errs.Exhausted:
		return message(http.StatusTooManyRequests, "Retry later")
	case errs.Unavailable, errs.Timeout, errs.Unimplemented:
		status := kind.HTTPStatus()
		return message(status, strconv.Itoa(status)+" "+http.StatusText(status))
	case errs.Canceled:
		return message(kind.HTTPStatus(), "499 Client Closed Request")
	default:
		return message(http.StatusInternalServerError, "500 Internal Server Error")
	}
}

func orText(text, def string) string {
	if text == "" {
		return def
	}
	return text
}

// is reports whether an error of the domain has the kind.
func is(err error, kind errs.Kind) bool { return err != nil && errs.KindOf(err) == kind }

// fieldOf returns the field that a domain error is about, "" when it names none.
func fieldOf(err error) string {
	var field *postgres.FieldError
	if errors.As(err, &field) {
		return field.Field
	}
	return ""
}
