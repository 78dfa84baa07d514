package githttp

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
)

// overloaded reports whether gitaly refused the call for its load.
func overloaded(err error) bool {
	st, ok := status.FromError(err)
	if !ok || st == nil {
		return false
	}
	for _, detail := range st.Details() {
		if _, is := detail.(*gitalypb.LimitError); is {
			return true
		}
	}
	return false
}

// busyFetch and busyPush are good answers of the Git protocol that tell of the
// load (wire/workhorse.md §3.3): git shows them, where it would hide the text of
// an HTTP error.
func busyFetch(w io.Writer, correlationID string) error {
	_, err := fmt.Fprint(w, packet("ERR "+busyText(correlationID)))
	return err
}

func busyPush(w io.Writer, correlationID string) error {
	report := packet("unpack server is busy\n") + "0000"
	_, err := fmt.Fprint(w, packet("\x01"+report)+packet("\x02"+busyText(correlationID))+"0000")
	return err
}

func busyText(correlationID string) string {
	return fmt.Sprintf("GitLab is currently unable to handle this request due to load (ID %s).\n", correlationID)
}

func packet(payload string) string { return fmt.Sprintf("%04x%s", len(payload)+4, payload) }

// bodyFailure returns the status for a request body that could not be read, or 0
// if err is about something else.
func bodyFailure(err error) int {
	switch {
	case errors.Is(err, errTooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, errTooSlow):
		return http.StatusRequestTimeout
	case errors.Is(err, errBadBody):
		return http.StatusBadRequest
	}
	return 0
}
