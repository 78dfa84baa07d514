package internalapi

import (
	"encoding/json"
	"log/slog"
	"net/http"

	"gitsplit/kit/correlation"
	"gitsplit/kit/errs"
	"gitsplit/kit/logging"
)

// refused is an answer that refuses; callers show Message (wire/internal-api.md §1.6).
type refused struct {
	Status  bool   `json:"status"`
	Message string `json:"message"`
}

// fault is the body of an answer that is an error of the request itself.
type fault struct {
	Message string `json:"message"`
}

func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := errs.KindOf(err).HTTPStatus()
	text := errs.Message(err)
	switch errs.KindOf(err) {
	case errs.Internal, errs.Canceled, errs.Unimplemented:
		status, text = http.StatusInternalServerError, "Internal API error, please tell your administrator the id "+correlation.ID(r.Context())
	case errs.Timeout:
		status, text = http.StatusServiceUnavailable, "The check took too long. Please try again later."
	case errs.Unavailable:
		text = firstNonEmpty(text, "The service is not available. Please try again later.")
	}
	if status >= http.StatusInternalServerError {
		a.Log.ErrorContext(r.Context(), "internal api request failed", slog.String(logging.KeyPath, r.URL.Path), slog.Any(logging.KeyError, err))
	}
	a.write(w, r, status, fault{Message: text})
}

func (a *api) write(w http.ResponseWriter, r *http.Request, status int, answer any) {
	if s, ok := answer.(statusAnswer); ok {
		status, answer = s.status, s.body
	}
	body, err := json.Marshal(answer)
	if err != nil {
		a.Log.ErrorContext(r.Context(), "encode answer", slog.Any(logging.KeyError, err))
		status, body = http.StatusInternalServerError, []byte(`{"message":"500 Internal Server Error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		a.Log.DebugContext(r.Context(), "caller left before its answer", slog.Any(logging.KeyError, err))
	}
}

// statusAnswer is an answer with a status other than 200.
type statusAnswer struct {
	status int
	body   any
}

// notOffered answers for what this installation does not have.
func notOffered(text string) handler {
	return func(*http.Request, []byte) (any, error) {
		return statusAnswer{http.StatusNotFound, fault{Message: text}}, nil
	}
}

// outcome is the answer of the endpoints whose status is always 200.
type outcome struct {
	Success bool   `json:"success"`
	Message string `json:"message,omitempty"`
}

func unsuccessful(text string) handler {
	return func(*http.Request, []byte) (any, error) { return outcome{Message: text}, nil }
}

func firstNonEmpty(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}
