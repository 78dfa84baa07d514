package gitalyauth

import (
	"context"
	"time"

	"google.golang.org/grpc/credentials"
)

type perRPC struct {
	secret []byte
	now    func() time.Time
}

// Credentials signs every RPC of a connection with a fresh token. Transport security is not asked for: gitaly's
// protocol sends tokens over Unix sockets and plain TCP too.
func Credentials(token string) credentials.PerRPCCredentials {
	return perRPC{secret: []byte(token), now: time.Now}
}

func (c perRPC) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + Sign(c.secret, c.now())}, nil
}

func (perRPC) RequireTransportSecurity() bool { return false }
