package gitalyauth_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"gitsplit/kit/gitalyauth"
)

const (
	secret = "foo"
	ts     = 1535671615
	vector = "v2.3346cb25ecdb928defd368e7390522a86764bbdf1e8b21aaef27c4c23ec9c899.1535671615"
)

func at(offset time.Duration) func() time.Time {
	return func() time.Time { return time.Unix(ts, 0).Add(offset) }
}

func TestSign_vector(t *testing.T) {
	t.Parallel()
	if got := gitalyauth.Sign([]byte(secret), at(999*time.Millisecond)()); got != vector {
		t.Errorf("got %s, want %s", got, vector)
	}
}

func TestInterceptors(t *testing.T) {
	t.Parallel()
	const (
		rpc          = "/gitaly.SSHService/SSHReceivePack"
		unauth       = "authentication required"
		badVersion   = "permission denied: invalid token version"
		badSignature = "permission denied: wrong hmac signature"
	)
	bearer := "Bearer " + vector
	signed := strings.Split(vector, ".")[1]
	tests := []struct {
		name   string
		header []string
		opts   gitalyauth.Options
		method string
		code   codes.Code
		text   string
	}{
		{name: "good", header: []string{bearer}},
		{name: "scheme in another case", header: []string{"bEARER " + vector}},
		{name: "30 s old", header: []string{bearer}, opts: gitalyauth.Options{Now: at(30 * time.Second)}},
		{name: "30 s ahead", header: []string{bearer}, opts: gitalyauth.Options{Now: at(-30 * time.Second)}},
		{name: "31 s old", header: []string{bearer}, opts: gitalyauth.Options{Now: at(31 * time.Second)},
			code: codes.PermissionDenied, text: "permission denied: token has expired: the clocks of the two services differ: the caller's is 31s behind"},
		{name: "31 s ahead", header: []string{bearer}, opts: gitalyauth.Options{Now: at(-31 * time.Second)},
			code: codes.PermissionDenied, text: "permission denied: token's validity window is in future: the clocks of the two services differ: the caller's is 31s ahead"},
		{name: "no header", code: codes.Unauthenticated, text: unauth},
		{name: "two headers", header: []string{bearer, bearer}, code: codes.Unauthenticated, text: unauth},
		{name: "no scheme", header: []string{vector}, code: codes.Unauthenticated, text: unauth},
		{name: "other scheme", header: []string{"Basic " + vector}, code: codes.Unauthenticated, text: unauth},
		{name: "two spaces", header: []string{"Bearer  " + vector}, code: codes.PermissionDenied, text: badVersion},
		{name: "bare secret (v1)", header: []string{"Bearer foo"}, code: codes.Unauthenticated, text: unauth},
		{name: "four parts", header: []string{bearer + ".x"}, code: codes.Unauthenticated, text: unauth},
		{name: "too long", header: []string{bearer + strings.Repeat("0", 5000)}, code: codes.Unauthenticated, text: unauth},
		{name: "signature not hex", header: []string{"Bearer v2.xyz.1"}, code: codes.Unauthenticated, text: unauth},
		{name: "version 3", header: []string{"Bearer v3." + signed + ".1535671615"}, code: codes.PermissionDenied, text: badVersion},
		{name: "other time", header: []string{"Bearer v2." + signed + ".1535671616"}, code: codes.PermissionDenied, text: badSignature},
		{name: "other secret", header: []string{bearer}, opts: gitalyauth.Options{Token: "bar"}, code: codes.PermissionDenied, text: badSignature},
		{name: "previous secret", header: []string{bearer}, opts: gitalyauth.Options{Token: "bar", Previous: secret}},
		{name: "a minute old, previous secret", header: []string{bearer}, opts: gitalyauth.Options{Token: "bar", Previous: secret, Now: at(time.Minute)},
			code: codes.PermissionDenied, text: "permission denied: token has expired: the clocks of the two services differ: the caller's is 1m0s behind"},
		{name: "wrong secret a minute old", header: []string{bearer}, opts: gitalyauth.Options{Token: "bar", Now: at(time.Minute)}, code: codes.PermissionDenied, text: badSignature},
		{name: "unsigned text for a time", header: []string{"Bearer v2." + signed + ".x"}, code: codes.PermissionDenied, text: badSignature},
		{name: "transitioning", header: []string{"nonsense"}, opts: gitalyauth.Options{Transitioning: true}},
		{name: "health", method: "/grpc.health.v1.Health/Check"},
		{name: "reflection", method: "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", code: codes.Unauthenticated, text: unauth},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ctx := metadata.NewIncomingContext(t.Context(), metadata.MD{"authorization": tc.header})
			o := tc.opts
			if o.Token == "" {
				o.Token = secret
			}
			if o.Now == nil {
				o.Now = at(0)
			}
			method := tc.method
			if method == "" {
				method = rpc
			}
			for kind, err := range map[string]error{"unary": unary(ctx, o, method), "stream": stream(ctx, o, method)} {
				if st := status.Convert(err); st.Code() != tc.code || st.Message() != tc.text {
					t.Errorf("%s: got %v %q, want %v %q", kind, st.Code(), st.Message(), tc.code, tc.text)
				}
			}
		})
	}
}

func unary(ctx context.Context, o gitalyauth.Options, method string) error {
	_, err := gitalyauth.UnaryInterceptor(o)(ctx, nil, &grpc.UnaryServerInfo{FullMethod: method},
		func(context.Context, any) (any, error) { return nil, nil })
	return err
}

type fakeStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s fakeStream) Context() context.Context { return s.ctx }

func stream(ctx context.Context, o gitalyauth.Options, method string) error {
	return gitalyauth.StreamInterceptor(o)(nil, fakeStream{ctx: ctx}, &grpc.StreamServerInfo{FullMethod: method},
		func(any, grpc.ServerStream) error { return nil })
}

func TestInterceptor_noToken(t *testing.T) {
	t.Parallel()
	if err := unary(t.Context(), gitalyauth.Options{}, "/gitaly.RefService/ListRefs"); err != nil {
		t.Errorf("a server without a token refused: %v", err)
	}
}

func TestInterceptor_refusedIsHeard(t *testing.T) {
	t.Parallel()
	var heard []string
	o := gitalyauth.Options{Token: secret, Transitioning: true, Refused: func(_ context.Context, method string, err error) {
		heard = append(heard, method+": "+status.Convert(err).Message())
	}}
	if err := unary(t.Context(), o, "/x/Y"); err != nil || len(heard) != 1 || heard[0] != "/x/Y: authentication required" {
		t.Errorf("heard %q, %v", heard, err)
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	c := gitalyauth.Credentials(secret)
	if c.RequireTransportSecurity() {
		t.Error("asks for transport security")
	}
	md, err := c.GetRequestMetadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx := metadata.NewIncomingContext(t.Context(), metadata.New(md))
	if err := unary(ctx, gitalyauth.Options{Token: secret}, "/x/Y"); err != nil {
		t.Errorf("own token refused: %v", err)
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{vector, "v2..", "v2.00.x", "..", "v1.a.b", ""} {
		f.Add(s)
	}
	now := at(0)()
	f.Fuzz(func(t *testing.T, token string) {
		if err := gitalyauth.Check([][]byte{[]byte(secret)}, token, now); err == nil && !strings.EqualFold(token, vector) {
			t.Fatalf("accepted %q", token)
		}
	})
}
