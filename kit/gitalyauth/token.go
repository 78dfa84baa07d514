// Package gitalyauth authenticates callers of gitaly with its v2 token (wire/gitaly.md §2):
//
//	authorization: Bearer v2.<hex HMAC-SHA256 of ts>.<ts>
//
// where ts is the decimal Unix time of the call. A token proves knowledge of the shared secret and is good for
// 30 seconds to either side of the server's clock. The secret itself never travels.
package gitalyauth

import (
	"crypto/hmac"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	tokens "gitsplit/kit/gitalyauth/token"
)

const (
	validity = 30 * time.Second // before and after the server's now, both ends included
	maxToken = 4096             // nothing longer is looked at
)

// Sign makes the token for a call at the time now.
func Sign(secret []byte, now time.Time) string { return tokens.Sign(secret, now) }

// Check verifies a token (without the scheme word) against the secrets, two while they change. Its errors are gRPC
// statuses with the codes and texts of the protocol: Unauthenticated for what is no token, PermissionDenied for a wrong one.
func Check(secrets [][]byte, token string, now time.Time) error {
	if len(token) > maxToken {
		return errUnauthenticated()
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errUnauthenticated()
	}
	if parts[0] != tokens.Version {
		return denied("invalid token version")
	}
	signature, err := hex.DecodeString(parts[1])
	if err != nil {
		return errUnauthenticated()
	}
	ours := func(secret []byte) bool {
		return len(secret) > 0 && hmac.Equal(tokens.MAC(secret, parts[2]), signature)
	}
	if !slices.ContainsFunc(secrets, ours) {
		return denied("wrong hmac signature")
	}
	seconds, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil {
		return denied("cannot parse timestamp: " + err.Error())
	}
	issued := time.Unix(seconds, 0)
	if issued.Before(now.Add(-validity)) {
		return denied("token has expired" + clocks(now.Sub(issued), "behind"))
	}
	if issued.After(now.Add(validity)) {
		return denied("token's validity window is in future" + clocks(issued.Sub(now), "ahead"))
	}
	return nil
}

// clocks is what the holder of the secret, who alone gets here, reads beyond the
// text of the protocol.
func clocks(by time.Duration, where string) string {
	return ": the clocks of the two services differ: the caller's is " + by.Round(time.Second).String() + " " + where
}

func errUnauthenticated() error {
	return status.Error(codes.Unauthenticated, "authentication required")
}

func denied(reason string) error {
	return status.Error(codes.PermissionDenied, "permission denied: "+reason)
}
