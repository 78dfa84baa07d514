package front

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	"gitsplit/kit/logging"
)

// recoverPanics lets a request fail alone. A deliberate abort of the connection
// passes on to the server, which closes it.
func (f *Front) recoverPanics(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if err, ok := v.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				f.log.ErrorContext(r.Context(), "panic in a request",
					slog.String("panic", fmt.Sprint(v)), slog.String("stack", string(debug.Stack())))
			}
			logging.AddAttrs(r.Context(), slog.Bool("aborted", true))
			panic(http.ErrAbortHandler)
		}()
		next.ServeHTTP(w, r)
	})
}
