package relay

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"gitsplit/kit/gitalyauth/token"
	"gitsplit/kit/hookpayload/plain"
	"gitsplit/services/hooks/internal/call"
)

// Metadata of the calls (wire/gitaly.md §3), and the variable with the push's id.
const (
	correlationKey = "x-gitlab-correlation-id"
	clientNameKey  = "x-gitlab-client-name"
	correlationEnv = "CORRELATION_ID"
)

// client asks gitaly on its internal socket.
type client struct {
	payload    plain.Payload
	repository plain.Repository
	environ    []string
}

// call calls a method of HookService. Keys of metadata are lower-case on the wire.
func (c *client) call(ctx context.Context, method string, messages io.Reader, metadata ...string) (*call.Call, error) {
	md := http.Header{"User-Agent": {"gitaly-hooks"}}
	metadata = append(metadata, clientNameKey, "gitaly-hooks")
	if secret := c.payload.InternalSocketToken; secret != "" {
		metadata = append(metadata, "authorization", "Bearer "+token.Sign([]byte(secret), time.Now()))
	}
	if id := getenv(c.environ, correlationEnv); id != "" {
		metadata = append(metadata, correlationKey, id)
	}
	if u := c.payload.UserDetails; u != nil {
		metadata = append(metadata, "user_id", u.UserID, "username", u.Username, "remote_ip", u.RemoteIP)
	}
	for i := 0; i < len(metadata); i += 2 {
		md.Set(metadata[i], metadata[i+1])
	}
	return call.Make(ctx, c.payload.InternalSocket, "/gitaly.HookService/"+method, md, messages)
}

// run makes the call and returns the exit status.
func (c *client) run(ctx context.Context, name string, args []string, s Streams) (int32, error) {
	switch name {
	case "pre-receive":
		return c.preReceive(ctx, s)
	case "post-receive":
		return c.postReceive(ctx, s)
	case "update":
		return c.update(ctx, args, s)
	case packObjects:
		return c.packObjects(ctx, args, s)
	}
	return c.referenceTransaction(ctx, args, s)
}

// pushOptions reads what git tells of the push.
func pushOptions(environ []string) []string {
	count, err := strconv.Atoi(getenv(environ, "GIT_PUSH_OPTION_COUNT"))
	if err != nil || count < 0 || count > len(environ) {
		return nil
	}
	var options []string
	for i := range count {
		options = append(options, getenv(environ, "GIT_PUSH_OPTION_"+strconv.Itoa(i)))
	}
	return options
}

func getenv(environ []string, key string) string {
	for i := len(environ) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(environ[i], key+"="); ok {
			return v
		}
	}
	return ""
}
