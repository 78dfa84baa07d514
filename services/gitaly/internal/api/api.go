// Package api is what gitaly asks of the internal API while it receives a push
// (wire/gitaly.md §7), with the answers turned into what a hook needs: go on, or
// the text for the pushing user. Everything but a clear yes is a no
// (security-baseline.md R4).
package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/kit/internalapi"
)

// Caller is the part of *internalapi.Client that is used here.
type Caller interface {
	Allowed(ctx context.Context, req internalapi.AllowedRequest) (internalapi.AllowedResponse, error)
	PreReceive(ctx context.Context, req internalapi.PreReceiveRequest) (internalapi.PreReceiveResponse, error)
	PostReceive(ctx context.Context, req internalapi.PostReceiveRequest) (internalapi.PostReceiveResponse, error)
	Check(ctx context.Context) (internalapi.CheckResponse, error)
}

// Observer measures calls; endpoint is allowed, pre-receive, post-receive or check.
type Observer interface {
	APICall(endpoint string, took time.Duration)
}

// Client asks the API. It is safe for concurrent use.
type Client struct {
	caller   Caller
	timeout  time.Duration
	observer Observer // may be nil
}

// New returns a client; each call ends after timeout.
func New(caller Caller, timeout time.Duration, observer Observer) *Client {
	return &Client{caller: caller, timeout: timeout, observer: observer}
}

// Push is what the API is told of a push.
type Push struct {
	ID                           string // 32 lower-case hexadecimal digits; "" if it has none
	GLID, Protocol, GLRepository string
	Dir, RelativePath            string // absolute, and relative to the storage
	Changes                      string
	Options                      []string
	ObjectDirectory              string   // of the quarantine, relative to the repository
	Alternates                   []string // likewise
	ClientContext                []byte
	RemoteIP                     string // of the user; "" if it is not known
}

// Refusal is a failed call in the words for the user (wire/gitaly.md §7.3).
type Refusal struct {
	Text   string
	Status int   // of HTTP, of an API that said no; else 0
	Err    error // the cause for the log; may be nil
}

// Error returns the text, followed by the cause.
func (r *Refusal) Error() string {
	if r.Err == nil {
		return r.Text
	}
	return r.Text + ": " + r.Err.Error()
}

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// Allowed asks whether the push may go on. A no is a *Refusal; an API that is
// over its limit is errs.Exhausted.
func (c *Client) Allowed(ctx context.Context, p Push) error {
	req, err := p.allowedRequest()
	if err != nil {
		return &Refusal{Text: err.Error()}
	}
	ctx, done := c.call(p.from(ctx), "allowed")
	defer done()
	var resp internalapi.AllowedResponse
	err = again(ctx, func() (err error) {
		resp, err = c.caller.Allowed(ctx, req)
		return err
	})
	if err != nil {
		return refusal(ctx, "/allowed", err)
	}
	if !resp.Status {
		return &Refusal{Text: resp.Message}
	}
	return nil
}

// PreReceive raises the counter of pushes in flight and reports whether it did.
func (c *Client) PreReceive(ctx context.Context, p Push) (bool, error) {
	ctx, done := c.call(ctx, "pre-receive")
	defer done()
	var resp internalapi.PreReceiveResponse
	call := func() (err error) {
		resp, err = c.caller.PreReceive(ctx, internalapi.PreReceiveRequest{
			GLRepository: p.GLRepository, PushID: p.ID, RelativePath: p.RelativePath,
		})
		return err
	}
	var err error
	if p.ID == "" { // it would count as another push
		err = call()
	} else {
		err = again(ctx, call)
	}
	if err != nil {
		return false, postFailed(ctx, "/pre_receive", err)
	}
	return resp.ReferenceCounterIncreased, nil
}

// pauseBeforeAgain is what an instance of the API that ends needs to be gone for those
// who choose one.
const pauseBeforeAgain = 500 * time.Millisecond

// again makes a call that may be made twice once more if the API, or the proxy before
// it, went away in the middle, as one instance of several does when it is restarted.
func again(ctx context.Context, call func() error) error {
	err := call()
	var answered *internalapi.Error
	gone := errors.Is(err, internalapi.ErrUnreachable) || errors.As(err, &answered) && answered.Status == http.StatusBadGateway
	if !gone {
		return err
	}
	timer := time.NewTimer(pauseBeforeAgain)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return err
	case <-timer.C:
		return call()
	}
}

// PostReceive reports the moved refs. It returns the messages for the user and
// whether the counter of pushes in flight went down.
func (c *Client) PostReceive(ctx context.Context, p Push) ([]internalapi.Message, bool, error) {
	ctx, done := c.call(p.from(ctx), "post-receive")
	defer done()
	req := internalapi.PostReceiveRequest{
		GLRepository: p.GLRepository, Identifier: p.GLID, Changes: p.Changes, PushOptions: p.Options,
		ClientContext: base64.StdEncoding.EncodeToString(p.ClientContext), PushID: p.ID,
	}
	resp, err := c.caller.PostReceive(ctx, req)
	if err != nil {
		return nil, false, postFailed(ctx, "/post_receive", err)
	}
	return resp.Messages, resp.ReferenceCounterDecreased, nil
}

// Refused reports whether an error of PostReceive is a no that the API would say again,
// such as that there is no such project. It asks whether it is the API at all: where
// that is not, some proxy may answer 404 to anything.
func (c *Client) Refused(ctx context.Context, err error) bool {
	var r *Refusal
	if !errors.As(err, &r) || !slices.Contains([]int{400, 404, 410, 413, 422}, r.Status) {
		return false
	}
	ctx, done := c.call(ctx, "check")
	defer done()
	_, err = c.caller.Check(ctx)
	return err == nil
}

// from tells the API where the user is.
func (p Push) from(ctx context.Context) context.Context {
	ip := net.ParseIP(p.RemoteIP)
	if ip == nil {
		return ctx
	}
	return internalapi.WithForwardedFor(ctx, ip.String())
}

func (c *Client) call(ctx context.Context, endpoint string) (context.Context, func()) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	started := time.Now()
	return ctx, func() {
		cancel()
		if c.observer != nil {
			c.observer.APICall(endpoint, time.Since(started))
		}
	}
}

func (p Push) allowedRequest() (internalapi.AllowedRequest, error) {
	env, err := json.Marshal(internalapi.PushEnv{AlternateObjectDirectories: p.Alternates, ObjectDirectory: p.ObjectDirectory})
	if err != nil {
		return internalapi.AllowedRequest{}, fmt.Errorf("encode quarantine: %w", err)
	}
	req := internalapi.AllowedRequest{
		Action: "git-receive-pack", Project: strings.ReplaceAll(p.Dir, "'", ""), Changes: p.Changes, Protocol: p.Protocol,
		GLRepository: p.GLRepository, RelativePath: p.RelativePath, Env: string(env), PushOptions: p.Options,
		ClientContext: base64.StdEncoding.EncodeToString(p.ClientContext),
	}
	return req, setActor(&req, p.GLID)
}

// setActor says who pushes, out of the gl_id (wire/gitaly.md §7.2).
func setActor(req *internalapi.AllowedRequest, glID string) error {
	kind, rest, _ := strings.Cut(glID, "-")
	n, numErr := strconv.ParseUint(rest, 10, 63)
	switch {
	case kind == "key" && numErr == nil:
		req.KeyID = internalapi.ID(n) //nolint:gosec // 63 bits
	case kind == "user" && numErr == nil:
		req.UserID = internalapi.ID(n) //nolint:gosec // 63 bits
	case kind == "username" && rest != "":
		req.Username = rest
	default:
		return fmt.Errorf("setting gl_id: gl_id=%q is invalid", glID)
	}
	return nil
}

// refusal puts a failed call into the words of wire/gitaly.md §7.3.
func refusal(ctx context.Context, endpoint string, err error) error {
	var refused *internalapi.Error
	var contentType *internalapi.ContentTypeError
	var decode *internalapi.DecodeError
	switch {
	case errors.As(err, &refused) && refused.Status == 429:
		return errs.Wrap(errs.Exhausted, "internal API: too many requests", err)
	case errors.As(err, &refused) && refused.Status < 400:
		return &Refusal{Text: fmt.Sprintf("gitlab api is not accessible: %d", refused.Status), Err: err}
	case errors.As(err, &refused):
		return &Refusal{Text: refused.Message, Status: refused.Status}
	case errors.As(err, &contentType):
		return &Refusal{Text: endpoint + " endpoint respond with unsupported content type: " + contentType.ContentType, Err: err}
	case errors.As(err, &decode):
		return &Refusal{Text: "decoding response from " + endpoint + " endpoint: " + decode.Err.Error(), Err: err}
	case errors.Is(ctx.Err(), context.Canceled):
		return err
	}
	return &Refusal{Text: internalapi.ErrUnreachable.Error(), Err: err}
}

func postFailed(ctx context.Context, endpoint string, err error) error {
	err = refusal(ctx, endpoint, err)
	var r *Refusal
	if errors.As(err, &r) {
		return &Refusal{Text: "http post to gitlab api " + endpoint + " endpoint: " + r.Text, Status: r.Status, Err: r.Err}
	}
	return err
}
